//! A plugin on a host whose table ends early: what is missing is absent, nothing is read beyond it.
//!
//! Alone in this file, because a process has one host.
#![expect(clippy::unwrap_used, reason = "a test ends where something is wrong")]

use std::mem::offset_of;
use std::time::Duration;

use broadcastd_plugin_api::abi::{self, HostApi};
use broadcastd_plugin_api::testing::{Harness, Setup};
use broadcastd_plugin_api::{Broadcaster, Context, Failure, FailureKind, PublishError, RequestId, TimerId};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::json;

#[derive(Deserialize, JsonSchema)]
struct Config {}

/// Uses everything that the host does not have.
struct Demanding;

impl Broadcaster for Demanding {
    type Config = Config;

    fn new(_: Config, _: &mut Context<'_>) -> Result<Self, Failure> {
        Ok(Demanding)
    }

    fn start(&mut self, cx: &mut Context<'_>) -> Result<(), Failure> {
        assert_eq!(cx.event("a").publish(&json!({})), Err(PublishError::Closed));
        assert_eq!(cx.demand(""), 0);
        let refused = cx.timer_once(TimerId(1), Duration::ZERO).unwrap_err();
        assert_eq!(refused.kind(), FailureKind::Unsupported);
        cx.timer_clear(TimerId(1));
        assert_eq!(cx.reply(RequestId(1), Ok(&1)).unwrap_err().kind(), FailureKind::Unsupported);
        cx.waker().wake();
        cx.health_degraded("nobody hears it");
        assert_eq!((cx.now_unix_ns(), cx.now_mono()), (0, Duration::ZERO));
        metrics::counter!("absent_total").increment(1);
        tracing::info!("came to the end");
        Ok(())
    }
}

#[test]
fn functions_beyond_the_hosts_size_are_absent() {
    let host_size = offset_of!(HostApi, publish) as u32;
    let mut harness = Harness::<Demanding>::set_up(Setup { host_size, ..Setup::new(json!({})) }).unwrap();
    let said: Vec<_> = harness.logs().into_iter().filter(|line| line.level >= abi::LOG_INFO).collect();
    assert_eq!(said[0].message, "came to the end");
    assert!(harness.metrics().is_empty() && harness.published().is_empty());
}
