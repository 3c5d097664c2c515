//! Whose certificates are believed: those that the system trusts, or those of one file.
use std::fmt;
use std::io;
use std::path::Path;
use std::sync::Arc;

use rustls::crypto::aws_lc_rs::default_provider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore};

/// The authorities by which a server proves who it is.
#[derive(Clone)]
pub struct Trust(Arc<ClientConfig>);

impl Trust {
    /// The authorities of a file in PEM, and no others; without a file, those of the system.
    pub fn load(file: Option<&Path>) -> Result<Trust, String> {
        let roots = match file {
            Some(file) => of_file(file)?,
            None => of_system()?,
        };
        let config = ClientConfig::builder_with_provider(Arc::new(default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(|error| error.to_string())?
            .with_root_certificates(roots)
            .with_no_client_auth();
        Ok(Trust(Arc::new(config)))
    }

    pub(crate) fn session(&self, host: &str) -> io::Result<ClientConnection> {
        let name = ServerName::try_from(host.to_owned())
            .map_err(|_| io::Error::new(io::ErrorKind::InvalidInput, format!("`{host}` is no name of a server")))?;
        ClientConnection::new(self.0.clone(), name).map_err(io::Error::other)
    }
}

impl fmt::Debug for Trust {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Trust")
    }
}

fn of_file(file: &Path) -> Result<RootCertStore, String> {
    let said = |why: &dyn fmt::Display| format!("{}: {why}; give a file of certificates in PEM", file.display());
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_file_iter(file).map_err(|error| said(&error))? {
        let certificate = certificate.map_err(|error| said(&error))?;
        roots.add(certificate).map_err(|error| said(&error))?;
    }
    if roots.is_empty() { Err(said(&"it holds no certificate")) } else { Ok(roots) }
}

/// What the system cannot read of its own is left out; none at all is a failure.
fn of_system() -> Result<RootCertStore, String> {
    let mut roots = RootCertStore::empty();
    let _unreadable_ones_are_left_out = roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if roots.is_empty() {
        return Err("the system has no trusted certificates; install `ca-certificates`, or set `ca` to a file".into());
    }
    Ok(roots)
}
