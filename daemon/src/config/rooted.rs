//! Where files lie that the configuration names without a folder: in its own, wherever the daemon was started.

use std::path::{Path, PathBuf};

use super::schema::{Config, Secret};

impl Config {
    /// The configuration with whole paths of keys, certificates and secrets.
    pub(super) fn rooted(mut self, folder: &Path) -> Self {
        let secrets = [self.auth.jwt.secret.as_mut(), self.admin.token.as_mut()];
        secrets.into_iter().flatten().for_each(|secret| root(secret, folder));
        if let Some(tls) = &mut self.server.tls {
            tls.cert = folder.join(&tls.cert);
            root(&mut tls.key, folder);
        }
        let keys: Option<&mut PathBuf> = self.auth.jwt.keys.as_mut();
        keys.into_iter().for_each(|keys| *keys = folder.join(&*keys));
        self
    }
}

fn root(secret: &mut Secret, folder: &Path) {
    if let Secret::File(named) = secret {
        named.file = folder.join(&named.file);
    }
}

#[cfg(test)]
mod tests {
    use crate::config::{Config, Paint, Source};

    #[test]
    fn what_is_named_without_a_folder_lies_in_that_of_the_configuration() {
        let source = Source { path: "/etc/house/config.toml".into(), ..Source::default() };
        let text = r#"
            [server.tls]
            cert = "tls/one.crt"
            key = { file = "one.key" }
            [admin]
            token = { file = "/run/token" }
            [auth]
            jwt = { keys = "../keys.pem", secret = { file = "jwt" } }
        "#;
        let loaded =
            Config::from_text(&source, text).unwrap_or_else(|report| panic!("{}", report.render(Paint::Plain, "")));
        let shown = serde_json::to_value(&loaded.config).unwrap();
        for (pointer, path) in [
            ("/server/tls/cert", "/etc/house/tls/one.crt"),
            ("/server/tls/key/file", "/etc/house/one.key"),
            ("/admin/token/file", "/run/token"),
            ("/auth/jwt/keys", "/etc/house/../keys.pem"),
            ("/auth/jwt/secret/file", "/etc/house/jwt"),
        ] {
            assert_eq!(shown.pointer(pointer).unwrap(), path, "{pointer}");
        }
    }
}
