//! stub
#[derive(clap::Args)]
pub(crate) struct Doctor {}
impl Doctor {
    pub(crate) fn run(&self) -> anyhow::Result<()> {
        Ok(())
    }
}
