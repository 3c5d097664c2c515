//! What `broadcastd connections` is told.

use clap::Args;

use super::Reach;

/// Whose connections are shown, and how many.
#[derive(Clone, Debug, PartialEq, Eq, Args)]
pub struct Connections {
    /// Shows only those that are subscribed to something of this stream
    #[arg(long, value_name = "STREAM")]
    pub stream: Option<String>,
    /// Shows only those that hear this topic or pattern, such as bars:AAPL:1
    #[arg(long, value_name = "TOPIC")]
    pub topic: Option<String>,
    /// Shows only those of this user, or of a service as service:NAME
    #[arg(long, value_name = "USER")]
    pub user: Option<String>,
    /// Shows only those that came by the endpoint of this path, such as /v1/ws
    #[arg(long, value_name = "PATH")]
    pub endpoint: Option<String>,
    /// Shows at most so many, those first that came first
    #[arg(long, value_name = "N", default_value_t = 1000, value_parser = clap::value_parser!(u64).range(1..))]
    pub limit: u64,
    #[command(flatten)]
    pub reach: Reach,
}
