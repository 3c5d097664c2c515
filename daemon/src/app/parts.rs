//! From the configuration to what each part of the daemon is told: the parts do not know how a file is written.

use std::num::NonZeroU32;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::config::schema;
use crate::dialect::{Dialect, fastws};
use crate::folders::Env;
use crate::hub::history::Bounds;
use crate::hub::log::Limits;
use crate::hub::settings::{Flush, Lag};
use crate::identity::Auth;
use crate::plugin::find::Places;
use crate::plugin::plan::Wanted;
use crate::plugin::restart::Restart;
use crate::plugin::stream::Overrides;
use crate::rate::Rate;
use crate::server::proxies::Proxies;
use crate::shard::encoding::Deflation;
use crate::shard::inbox::Endpoint;
use crate::websocket::deflate::Compression;
use crate::{log, server, shard};

/// Descriptors that are not connections: files, listeners, libraries, the admin listener's clients.
pub const SPARE_DESCRIPTORS: u64 = 256;
/// Where systemd says in which folder the credentials of a unit lie.
pub const CREDENTIALS: &str = "CREDENTIALS_DIRECTORY";

pub fn shard(hub: &schema::Hub) -> shard::Config {
    shard::Config {
        outbox: bytes(hub.outbox.0),
        max_subscriptions: hub.max_subscriptions as usize,
        rate: rate(hub.rate.commands, hub.rate.burst),
        max_message: bytes(hub.max_message.0),
        deflation: Deflation { min_size: bytes(hub.compression.min_size.0), level: hub.compression.level },
        ping_every: hub.ping.every.0,
        drop_after: hub.ping.drop_after.0,
        flush: flush(hub.flush),
    }
}

/// The bound of `hub.memory`.
pub fn memory(hub: &schema::Hub) -> usize {
    bytes(hub.memory.0)
}

/// How many shards run: as the file says, or one per core.
pub fn shard_count(server: &schema::Server) -> usize {
    match server.shards {
        0 => std::thread::available_parallelism().map_or(1, usize::from),
        count => usize::from(count),
    }
}

/// What the listeners are told. `state` is a folder of the daemon's own, for the ingest socket where its default cannot be.
pub fn server(config: &schema::Config, max_connections: usize, state: &Path) -> server::Config {
    let endpoint = |endpoint: &schema::Endpoint| server::EndpointConfig {
        listen: endpoint.listen.as_ref().map(ToString::to_string),
        endpoint: self::endpoint(endpoint),
    };
    server::Config {
        listen: config.server.listen.iter().map(ToString::to_string).collect(),
        endpoints: config.server.endpoints.iter().map(endpoint).collect(),
        pages: server::pages::Rules {
            origins: config.server.origins.clone(),
            cors: config.server.cors.clone(),
            has_cookie: config.auth.cookie.is_some(),
        },
        hosts: config.server.hosts.clone(),
        max_connections,
        max_per_ip: config.hub.max_per_ip as usize,
        proxies: Proxies { trusted: config.server.trusted_proxies.clone(), begin: config.server.proxy_protocol },
        header_timeout: config.hub.header_timeout.0,
        compression: if config.hub.compression.level == 0 { Compression::Off } else { Compression::On },
        certificate: None,
        cookie: config.auth.cookie.clone(),
        ingest: ingest(&config.ingest, state),
    }
}

fn ingest(ingest: &schema::Ingest, state: &Path) -> Vec<PathBuf> {
    match ingest.socket.to_str() {
        Some("") => Vec::new(),
        Some(schema::DEFAULT_SOCKET) => vec![schema::DEFAULT_SOCKET.into(), state.join("ingest.sock")],
        _ => vec![ingest.socket.clone()],
    }
}

/// The files of the certificate that clients shall see.
pub fn tls(tls: &schema::Tls, env: &Env) -> Result<server::tls::Config, String> {
    Ok(server::tls::Config { cert: tls.cert.clone(), key: secret_file(&tls.key, env)? })
}

fn endpoint(endpoint: &schema::Endpoint) -> Endpoint {
    let dialect = match endpoint.dialect {
        schema::Dialect::Native => Dialect::Native,
        schema::Dialect::Sse => Dialect::Sse,
        schema::Dialect::Streams => Dialect::Streams,
        schema::Dialect::Spc => Dialect::Spc,
        schema::Dialect::Fastws => Dialect::Fastws(match endpoint.revision {
            schema::Revision::C => fastws::Revision::C,
            schema::Revision::A | schema::Revision::Default => fastws::Revision::A,
        }),
        schema::Dialect::User => Dialect::User,
    };
    Endpoint {
        path: endpoint.path.clone(),
        dialect,
        streams: endpoint.streams.clone(),
        aliases: endpoint.aliases.clone().into(),
        snapshot: endpoint.snapshot.unwrap_or(dialect.begins_with_snapshot()),
        auth: match endpoint.auth {
            schema::Auth::None => Auth::None,
            schema::Auth::Optional => Auth::Optional,
            schema::Auth::Required => Auth::Required,
        },
    }
}

/// As many connections as the file allows and the process has descriptors for, which is told when it is less.
pub fn max_connections(hub: &schema::Hub) -> usize {
    let wanted = u64::from(hub.max_connections);
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile).current;
    let possible = limit.map_or(wanted, |limit| limit.saturating_sub(SPARE_DESCRIPTORS).max(1));
    if possible < wanted {
        tracing::warn!(wanted, possible, "hub.max_connections is capped: raise the descriptor limit (LimitNOFILE=)");
    }
    usize::try_from(wanted.min(possible)).unwrap_or(usize::MAX)
}

/// What the supervisor is asked for; `settings` have been checked by the plugin's schema.
pub fn wanted(hub: &schema::Hub, name: &str, broadcaster: &schema::Broadcaster, settings: Value) -> Wanted {
    let stream = &broadcaster.stream;
    let limits = limits(hub, &stream.history, stream.max_topics, stream.max_records);
    Wanted {
        name: name.to_owned(),
        plugin: broadcaster.plugin.clone(),
        settings,
        listen: broadcaster.listen.clone(),
        allow_private: broadcaster.allow_private,
        restart: Restart {
            max: broadcaster.restart.max as usize,
            within: broadcaster.restart.within.0,
            backoff: broadcaster.restart.backoff.from.0,
            backoff_max: broadcaster.restart.backoff.to.0,
        },
        sha256: broadcaster.sha256.clone(),
        stream: Overrides {
            visible: stream.visible,
            needs_identity: stream.auth.map(|auth| auth == schema::Auth::Required),
            lag: stream.lag.map(lag),
            flush: stream.flush.map(flush),
            history_events: Some(limits.history.events),
            history_bytes: Some(limits.history.bytes),
            history_age: Some(limits.history.age),
            max_topics: Some(limits.max_topics),
            max_records: Some(limits.max_records),
            listen_buffer: Some(bytes(hub.listen_buffer.0)),
            broadcast: Some(stream.broadcast.iter().cloned().collect()),
            ..Overrides::default()
        },
        disabled: !broadcaster.enabled,
        file_sha256: String::new(),
        generation: 0,
    }
}

pub fn places(plugins: &schema::Plugins, env: &Env) -> Places {
    let split = |folders: &String| std::env::split_paths(folders).collect::<Vec<PathBuf>>();
    let executable = std::env::current_exe().ok();
    Places {
        dirs: plugins.dirs.clone(),
        path_variable: env.get("BROADCASTD_PLUGIN_PATH").map(split).unwrap_or_default(),
        executable_dir: executable.as_deref().and_then(Path::parent).map(Path::to_owned),
    }
}

pub fn log_format(log: &schema::Log, env: &Env) -> log::Format {
    match log.format {
        schema::LogFormat::Auto => log::Format::detect(env.get("JOURNAL_STREAM").map(String::as_str)),
        schema::LogFormat::Journald => log::Format::Journald,
        schema::LogFormat::Text => log::Format::Text,
        schema::LogFormat::Json => log::Format::Json,
    }
}

/// The file of the error log, if there shall be one.
pub fn error_log(log: &schema::Log) -> Option<&Path> {
    Some(&*log.errors).filter(|path| !path.as_os_str().is_empty())
}

/// A secret's text, read when it is needed and kept nowhere else.
pub fn secret(secret: &schema::Secret, env: &Env) -> Result<String, String> {
    let from_file = |path: &Path| {
        let text = std::fs::read_to_string(path);
        // The whole path: the folder of the configuration is often not the one where somebody looks.
        let whole = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
        text.map_err(|error| format!("cannot read the secret in {}: {error}", whole.display()))
    };
    let text = match secret {
        schema::Secret::Credential(_) | schema::Secret::File(_) => from_file(&secret_file(secret, env)?)?,
        schema::Secret::Env(variable) => env
            .get(&variable.env)
            .cloned()
            .ok_or_else(|| format!("the environment variable {} is not set", variable.env))?,
    };
    match text.trim() {
        "" => Err("the secret is empty".to_owned()),
        trimmed => Ok(trimmed.to_owned()),
    }
}

/// Where a secret lies that has to be in a file, because it is read again when that changes.
fn secret_file(secret: &schema::Secret, env: &Env) -> Result<PathBuf, String> {
    match secret {
        schema::Secret::File(file) => Ok(file.file.clone()),
        schema::Secret::Credential(named) => {
            let name = named.trim_start_matches("credential:");
            let folder = env.get(CREDENTIALS).ok_or_else(|| {
                format!(
                    "\"{named}\" needs systemd's LoadCredential={name}:/path; elsewhere write {{ file = \"/path\" }}"
                )
            })?;
            Ok(Path::new(folder).join(name))
        }
        schema::Secret::Env(variable) => Err(format!(
            "this secret is a file; write {{ file = \"/path\" }} in place of the variable {}",
            variable.env
        )),
    }
}

/// The bounds of what the daemon's own stream keeps: no table says otherwise.
pub fn own_stream(hub: &schema::Hub) -> Limits {
    limits(hub, &schema::HistoryOverride::default(), None, None)
}

/// The bounds of what a stream keeps.
pub fn limits(
    hub: &schema::Hub,
    history: &schema::HistoryOverride,
    topics: Option<u32>,
    records: Option<u32>,
) -> Limits {
    let default = &hub.history;
    Limits {
        history: Bounds {
            events: history.events.unwrap_or(default.events) as usize,
            bytes: bytes(history.bytes.unwrap_or(default.bytes).0),
            age: history.age.unwrap_or(default.age).0,
        },
        max_topics: topics.unwrap_or(hub.max_topics) as usize,
        max_records: records.unwrap_or(hub.max_records) as usize,
    }
}

pub fn rate(per_second: u32, burst: u32) -> Rate {
    Rate { per_second: NonZeroU32::new(per_second).unwrap_or(NonZeroU32::MIN), burst }
}

pub fn lag(lag: schema::Lag) -> Lag {
    match lag {
        schema::Lag::Resync => Lag::Resync,
        schema::Lag::Disconnect => Lag::Disconnect,
    }
}

pub fn flush(flush: schema::Flush) -> Flush {
    match flush {
        schema::Flush::Auto(_) => Flush::Auto,
        schema::Flush::Every(pause) => Flush::Every(pause.0),
    }
}

pub fn bytes(size: u64) -> usize {
    usize::try_from(size).unwrap_or(usize::MAX)
}
