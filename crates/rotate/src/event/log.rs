//! Events as lines of the log.

use super::{Event, Told};
use crate::schedule::Health;

impl Told {
    /// Writes it to the log.
    pub fn log(&self) {
        let credential = self.credential.as_deref().unwrap_or("-");
        let name = self.event.name();
        match &self.event {
            Event::Found { serial, not_after } => {
                tracing::info!(credential, event = name, %serial, %not_after, "found a credential");
            }
            Event::Renewing { reason } => {
                tracing::info!(credential, event = name, reason = reason.as_str(), "renewing")
            }
            Event::AwaitingApproval { retry } => {
                tracing::info!(
                    credential,
                    event = name,
                    ?retry,
                    "waiting for approval: the issuer has taken the request"
                );
            }
            Event::Renewed { serial, not_after, generation } => {
                tracing::info!(credential, event = name, %serial, %not_after, generation, "delivered the next generation");
            }
            Event::Succeeded { generation, proven } => {
                tracing::info!(credential, event = name, generation, proven, "the rotation succeeded");
            }
            Event::TrustMoved => tracing::info!(credential, event = name, "delivered other trust material"),
            Event::HookDone { hook } => tracing::info!(credential, event = name, hook, "the hook is done"),
            Event::WindowChanged { renewal } => {
                tracing::info!(credential, event = name, %renewal, "the issuer moved the renewal");
            }
            Event::ConfigReloaded { added, changed, removed, kept } => {
                tracing::info!(event = name, added, changed, removed, kept, "the configuration was read again");
            }
            Event::HealthChanged { health: Health::Green } => {
                tracing::info!(credential, event = name, health = "green", "the credential is well");
            }
            _ => self.log_trouble(credential, name),
        }
    }

    fn log_trouble(&self, credential: &str, name: &'static str) {
        match &self.event {
            Event::RenewalFailed { step, failures, cause, retry } => {
                tracing::warn!(credential, event = name, step = step.as_str(), failures, ?retry, %cause, "no next credential; the last good one is kept");
            }
            Event::FoundExpired { serial, not_after } => {
                tracing::warn!(credential, event = name, %serial, %not_after, "found a credential that has expired");
            }
            Event::IssuerUnready { issuer, cause } => {
                tracing::warn!(credential, event = name, issuer, %cause, "a renewal would fail");
            }
            Event::RefreshFailed { step, cause } => {
                tracing::warn!(credential, event = name, step = step.as_str(), %cause, "trust and window could not be fetched anew");
            }
            Event::HookFailed { hook, failures, cause, retry } => {
                tracing::warn!(credential, event = name, hook, failures, ?retry, %cause, "the hook failed");
            }
            Event::HooksRepeated { mismatches } => {
                tracing::warn!(
                    credential,
                    event = name,
                    mismatches,
                    "the hooks run again: the consumer may have missed them"
                );
            }
            Event::ProbeFailed { failures, cause, retry } => {
                tracing::warn!(credential, event = name, failures, ?retry, %cause, "the consumer could not be looked at");
            }
            Event::ServedSerialMismatch { delivered, served, retry } => {
                tracing::warn!(credential, event = name, %delivered, %served, ?retry, "the consumer serves another certificate than the delivered one");
            }
            Event::HealthChanged { health } => {
                tracing::warn!(
                    credential,
                    event = name,
                    health = health.as_str(),
                    "the health of the credential changed"
                );
            }
            Event::ChangedByHand { fault } => {
                let fault = fault.as_deref().unwrap_or("none");
                tracing::warn!(credential, event = name, fault, "the files were changed by somebody else");
            }
            Event::ClockJumped { seconds } => {
                tracing::warn!(
                    event = name,
                    seconds,
                    "the clock jumped or the machine slept; everything is planned anew"
                );
            }
            Event::ConfigRefused { cause } => {
                tracing::warn!(event = name, %cause, "the configuration is broken; the one before still counts");
            }
            Event::StateFailed { cause } => {
                tracing::warn!(credential, event = name, %cause, "the state beside the credential failed");
            }
            _ => {}
        }
    }
}
