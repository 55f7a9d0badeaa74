//! Orders to the task.

use std::sync::Arc;

use countermark_credential::Credential;
use tokio::sync::{oneshot, watch};

use super::StartError;
use crate::config::Config;
use crate::status::{CredentialStatus, Status};

/// An order, with where its answer goes.
#[derive(Debug)]
pub(super) enum Order {
    Credential { name: String, answer: oneshot::Sender<Option<CredentialStatus>> },
    Refuse { cause: String },
    Reload { config: Box<Config>, answer: oneshot::Sender<Result<(), StartError>> },
    Renew { name: String, answer: oneshot::Sender<bool> },
    Status(oneshot::Sender<Status>),
    Watch { name: String, answer: oneshot::Sender<Option<watch::Receiver<Arc<Credential>>>> },
}
