//! The certificate that clients see: read from its files, and read again when they change, without a connection noticing.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, RwLock, Weak};
use std::time::{Duration, SystemTime};

use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::{self, PemObject as _};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;

/// How often the files are looked at: whoever renews a certificate does not wait for it.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// What config says about encryption.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// The certificate and those that vouch for it, in PEM.
    pub cert: PathBuf,
    /// Its private key, in PEM.
    pub key: PathBuf,
}

/// The certificate in use, with what listeners need to encrypt by it.
#[derive(Debug)]
pub struct Certificate {
    files: Arc<Files>,
    acceptor: Arc<ServerConfig>,
}

/// Why there is no certificate; the text names the file and says what to do.
#[derive(Debug)]
pub struct TlsError(String);

/// The files of a certificate, and what they held when they last made one.
#[derive(Debug)]
struct Files {
    config: Config,
    current: RwLock<Arc<CertifiedKey>>,
    seen: Mutex<Option<Look>>,
}

/// What tells one state of the files from another without reading them.
type Look = [(SystemTime, u64); 2];

impl Certificate {
    pub fn read(config: &Config) -> Result<Arc<Self>, TlsError> {
        let seen = Mutex::new(look(config));
        let current = RwLock::new(Arc::new(read(config)?));
        let files = Arc::new(Files { config: config.clone(), current, seen });
        let builder = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()));
        let builder = builder.with_safe_default_protocol_versions();
        let builder = builder.map_err(|error| TlsError(format!("encryption is not available: {error}")))?;
        let mut acceptor = builder.with_no_client_auth().with_cert_resolver(files.clone());
        acceptor.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Arc::new(Self { files, acceptor: Arc::new(acceptor) }))
    }

    pub fn config(&self) -> &Config {
        &self.files.config
    }

    /// For one handshake more, with whichever certificate it is by then.
    pub fn acceptor(&self) -> Arc<ServerConfig> {
        self.acceptor.clone()
    }

    /// Looks at the files for as long as the certificate is in use.
    pub async fn keep_fresh(certificate: Weak<Self>) {
        let mut due = tokio::time::interval(LOOK_EVERY);
        loop {
            due.tick().await;
            match certificate.upgrade() {
                Some(certificate) => certificate.files.refresh(),
                None => return,
            }
        }
    }
}

impl Files {
    /// Takes up files that changed. Files that make no certificate are told once, and the one before stays.
    fn refresh(&self) {
        let seen = look(&self.config);
        let before = std::mem::replace(&mut *self.seen.lock().unwrap_or_else(PoisonError::into_inner), seen);
        if seen == before {
            return;
        }
        match read(&self.config) {
            Ok(fresh) => {
                *self.current.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(fresh);
                tracing::info!(cert = %self.config.cert.display(), "the certificate was read again");
            }
            Err(error) => tracing::error!(%error, "the certificate has changed and is of no use; the one before stays"),
        }
    }
}

impl ResolvesServerCert for Files {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.current.read().unwrap_or_else(PoisonError::into_inner).clone())
    }
}

impl fmt::Display for TlsError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.0)
    }
}

impl std::error::Error for TlsError {}

fn read(config: &Config) -> Result<CertifiedKey, TlsError> {
    let chain: Result<Vec<CertificateDer<'static>>, pem::Error> =
        CertificateDer::pem_file_iter(&config.cert).and_then(Iterator::collect);
    let chain = chain.map_err(|error| unusable("cert", &config.cert, &error))?;
    if chain.is_empty() {
        return Err(unusable("cert", &config.cert, &"there is no certificate in it"));
    }
    let key = PrivateKeyDer::from_pem_file(&config.key).map_err(|error| unusable("key", &config.key, &error))?;
    CertifiedKey::from_der(chain, key, &aws_lc_rs::default_provider())
        .map_err(|error| unusable("key", &config.key, &error))
}

fn unusable(setting: &str, path: &Path, error: &dyn fmt::Display) -> TlsError {
    TlsError(format!("`server.tls.{setting}`: {} cannot be used: {error}; give a file in PEM", path.display()))
}

fn look(config: &Config) -> Option<Look> {
    let of = |path: &Path| {
        let found = std::fs::metadata(path).ok()?;
        Some((found.modified().ok()?, found.len()))
    };
    Some([of(&config.cert)?, of(&config.key)?])
}
