//! Makes the listeners' certificate anew before it ends, and says in good time that the issuing one has to be replaced,
//! which takes the root's key and so a person.

use std::{sync::Arc, time::Duration};

use bbt_store::StoreError;

use super::Task;
use crate::{
    certificates::Certificates,
    context::Context,
    trouble::{Kind, Trouble},
};

/// See the head of the module.
pub struct CertificateRenewal {
    context: Arc<Context>,
    certificates: Arc<Certificates>,
}

impl CertificateRenewal {
    /// Of the running controller.
    pub fn new(context: Arc<Context>, certificates: Arc<Certificates>) -> Self {
        Self { context, certificates }
    }

    fn tell(&self) {
        let (authority, now) = (self.certificates.authority(), self.context.now());
        if authority.is_to_be_replaced(now) {
            self.context.troubles.raise(Trouble::IntermediateOld { until: authority.until() }, now);
        } else {
            self.context.troubles.clear(Kind::IntermediateOld);
        }
    }
}

impl Task for CertificateRenewal {
    const NAME: &'static str = "certificate_renewal";
    const EVERY: Duration = Duration::from_secs(3_600);

    async fn run(&self) -> Result<Option<Duration>, StoreError> {
        self.tell();
        let certificates = Arc::clone(&self.certificates);
        // A panic of the blocking thread is told by the runtime.
        match tokio::task::spawn_blocking(move || certificates.refresh()).await {
            Ok(Ok(true)) => tracing::info!("the listeners show a new certificate"),
            Ok(Err(error)) => tracing::error!(%error, "the listeners keep the certificate that they have"),
            Ok(Ok(false)) | Err(_) => {}
        }
        Ok(None)
    }
}
