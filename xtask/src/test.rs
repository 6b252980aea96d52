//! stub
#[derive(clap::Args)]
pub(crate) struct Check {}
impl Check {
    pub(crate) fn run(&self) -> anyhow::Result<()> {
        Ok(())
    }
}
#[derive(clap::Args)]
pub(crate) struct Test {}
impl Test {
    pub(crate) fn run(&self) -> anyhow::Result<()> {
        Ok(())
    }
}
