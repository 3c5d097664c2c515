//! From the configuration to what each part of the daemon is told: the parts do not know how a file is written.

use std::collections::BTreeSet;
use std::num::NonZeroU32;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::config::schema;
use crate::dialect::Dialect;
use crate::folders::Env;
use crate::hub::history::Bounds;
use crate::hub::log::Limits;
use crate::hub::settings::{Lag, Settings};
use crate::hub::template::{BadParams, Template};
use crate::identity::Auth;
use crate::plugin::find::Places;
use crate::plugin::plan::Wanted;
use crate::plugin::restart::Restart;
use crate::plugin::stream::Overrides;
use crate::shard::inbox::Endpoint;
use crate::{log, server, shard};

/// Descriptors that are not connections: files, listeners, libraries, the admin listener's clients.
const SPARE_DESCRIPTORS: u64 = 256;

pub fn shard(hub: &schema::Hub) -> shard::Config {
    shard::Config {
        outbox: bytes(hub.outbox.0),
        max_subscriptions: hub.max_subscriptions as usize,
        rate: shard::rate::Rate {
            commands: NonZeroU32::new(hub.rate.commands).unwrap_or(NonZeroU32::MIN),
            burst: hub.rate.burst,
        },
        max_message: bytes(hub.max_message.0),
        ping_every: hub.ping.every.0,
        drop_after: hub.ping.drop_after.0,
        flush: hub.flush.0,
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

pub fn server(config: &schema::Config, max_connections: usize) -> server::Config {
    let endpoint = |endpoint: &schema::Endpoint| server::EndpointConfig {
        listen: endpoint.listen.as_ref().map(ToString::to_string),
        endpoint: self::endpoint(endpoint),
    };
    server::Config {
        listen: config.server.listen.iter().map(ToString::to_string).collect(),
        endpoints: config.server.endpoints.iter().map(endpoint).collect(),
        origins: config.server.origins.clone(),
        max_connections,
        max_per_ip: config.hub.max_per_ip as usize,
        header_timeout: config.hub.header_timeout.0,
    }
}

fn endpoint(endpoint: &schema::Endpoint) -> Endpoint {
    let dialect = match endpoint.dialect {
        schema::Dialect::Native => Dialect::Native,
        schema::Dialect::Sse => Dialect::Sse,
    };
    Endpoint {
        path: endpoint.path.clone(),
        dialect,
        streams: endpoint.streams.clone(),
        aliases: endpoint.aliases.clone(),
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

/// The settings of a declared stream.
pub fn declared(hub: &schema::Hub, stream: &schema::DeclaredStream) -> Result<Settings, BadParams> {
    let template = Template::parse(&stream.template)?;
    let limits = limits(hub, &stream.history, stream.max_topics, stream.max_records);
    Ok(Settings {
        visible: stream.visible,
        private: stream.private,
        template,
        lag: lag(stream.lag),
        limits,
        listen_buffer: bytes(hub.listen_buffer.0),
        broadcast: stream.broadcast.iter().cloned().collect::<BTreeSet<String>>(),
        dedup: stream.dedup.0,
        ..Settings::default()
    })
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
            lag: stream.lag.map(lag),
            history_events: Some(limits.history.events),
            history_bytes: Some(limits.history.bytes),
            history_age: Some(limits.history.age),
            max_topics: Some(limits.max_topics),
            max_records: Some(limits.max_records),
            listen_buffer: Some(bytes(hub.listen_buffer.0)),
            ..Overrides::default()
        },
        disabled: !broadcaster.enabled,
        file_sha256: String::new(),
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

/// A secret's text, read when it is needed and kept nowhere else.
pub fn secret(secret: &schema::Secret, env: &Env) -> Result<String, String> {
    let from_file = |path: &Path| {
        let text = std::fs::read_to_string(path);
        text.map_err(|error| format!("cannot read the secret in {}: {error}", path.display()))
    };
    let text = match secret {
        schema::Secret::Credential(named) => {
            let name = named.trim_start_matches("credential:");
            let folder = env.get("CREDENTIALS_DIRECTORY").ok_or_else(|| {
                format!(
                    "\"{named}\" needs systemd's LoadCredential={name}:/path; elsewhere write {{ file = \"/path\" }}"
                )
            })?;
            from_file(&Path::new(folder).join(name))?
        }
        schema::Secret::File(file) => from_file(&file.file)?,
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

fn limits(hub: &schema::Hub, history: &schema::HistoryOverride, topics: Option<u32>, records: Option<u32>) -> Limits {
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

fn lag(lag: schema::Lag) -> Lag {
    match lag {
        schema::Lag::Resync => Lag::Resync,
        schema::Lag::Disconnect => Lag::Disconnect,
    }
}

fn bytes(size: u64) -> usize {
    usize::try_from(size).unwrap_or(usize::MAX)
}
