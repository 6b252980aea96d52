//! stub
#[derive(clap::Args)]
pub(crate) struct Dev {}
impl Dev {
    pub(crate) fn run(&self) -> anyhow::Result<()> {
        Ok(())
    }
}
