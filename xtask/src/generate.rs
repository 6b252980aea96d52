//! stub
#[derive(clap::Args)]
pub(crate) struct Generate {}
impl Generate {
    pub(crate) fn run(&self) -> anyhow::Result<()> {
        Ok(())
    }
}
