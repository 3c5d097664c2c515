//! The dashboard for Grafana, written from the list of its panels: what an operator looks at, from top to bottom.

use serde_json::{Value, json};

/// Rows of the dashboard, each with its panels: title, unit as Grafana names it, and what is drawn, each line with its
/// legend. `#` stands for the labels that choose what is looked at.
type Row = (&'static str, &'static [Panel]);
type Panel = (&'static str, &'static str, &'static [(&'static str, &'static str)]);

const ROWS: &[Row] = &[
    (
        "At a glance",
        &[
            ("Serves", "bool_yes_no", &[("{{instance}}", "up{job=\"broadcastd\",instance=~\"$instance\"}")]),
            ("Version", "string", &[("{{version}}", "broadcastd_build_info{#}")]),
            ("Last reload taken", "bool_yes_no", &[("{{instance}}", "broadcastd_config_last_reload_successful{#}")]),
            ("Up for", "s", &[("{{instance}}", "time() - process_start_time_seconds{job=\"broadcastd\",#}")]),
        ],
    ),
    (
        "Events",
        &[
            ("Published", "ops", &[("{{stream}}", "sum by (stream) (rate(broadcastd_events_published_total{#}[R]))")]),
            (
                "Delivered",
                "ops",
                &[("{{stream}} {{dialect}}", "sum by (stream, dialect) (rate(broadcastd_deliveries_total{#}[R]))")],
            ),
            (
                "From publish to write",
                "s",
                &[
                    (
                        "half",
                        "histogram_quantile(0.5, sum by (le) (rate(broadcastd_publish_to_write_seconds_bucket{#}[R])))",
                    ),
                    (
                        "99 in 100",
                        "histogram_quantile(0.99, sum by (le) (rate(broadcastd_publish_to_write_seconds_bucket{#}[R])))",
                    ),
                ],
            ),
            (
                "Not taken",
                "ops",
                &[
                    ("{{stream}} refused", "sum by (stream) (rate(broadcastd_events_refused_total{#}[R])) > 0"),
                    (
                        "{{stream}} from outside, {{reason}}",
                        "sum by (stream, reason) (rate(broadcastd_ingest_rejected_total{#}[R])) > 0",
                    ),
                    ("{{stream}} for nobody", "sum by (stream) (rate(broadcastd_events_unaddressed_total{#}[R])) > 0"),
                ],
            ),
        ],
    ),
    (
        "Clients",
        &[
            (
                "Connections",
                "short",
                &[("{{endpoint}} {{dialect}}", "sum by (endpoint, dialect) (broadcastd_connections{#})")],
            ),
            ("Subscriptions", "short", &[("{{stream}}", "sum by (stream) (broadcastd_subscriptions{#})")]),
            (
                "Could not take everything",
                "ops",
                &[("{{stream}} {{policy}}", "sum by (stream, policy) (rate(broadcastd_lagged_total{#}[R]))")],
            ),
            (
                "Not let in, and ended",
                "ops",
                &[
                    ("refused: {{reason}}", "sum by (reason) (rate(broadcastd_connections_refused_total{#}[R]))"),
                    ("ended: {{code}}", "sum by (code) (rate(broadcastd_closes_total{#}[R]))"),
                ],
            ),
            ("Came back", "ops", &[("{{outcome}}", "sum by (outcome) (rate(broadcastd_resumes_total{#}[R]))")]),
            (
                "Commands",
                "ops",
                &[("{{kind}} {{outcome}}", "sum by (kind, outcome) (rate(broadcastd_commands_total{#}[R]))")],
            ),
        ],
    ),
    (
        "Broadcasters",
        &[
            ("State", "short", &[("{{broadcaster}} {{state}}", "broadcastd_broadcaster_state{#}")]),
            (
                "Failures and restarts",
                "short",
                &[
                    (
                        "{{broadcaster}} {{reason}}",
                        "sum by (broadcaster, reason) (increase(broadcastd_broadcaster_errors_total{#}[R]))",
                    ),
                    (
                        "{{broadcaster}} started again",
                        "sum by (broadcaster) (increase(broadcastd_broadcaster_restarts_total{#}[R]))",
                    ),
                ],
            ),
            (
                "Time in calls, 99 in 100",
                "s",
                &[(
                    "{{broadcaster}} {{call}}",
                    "histogram_quantile(0.99, sum by (broadcaster, call, le) (rate(broadcastd_plugin_call_duration_seconds_bucket{#}[R])))",
                )],
            ),
            (
                "Not delivered: nobody listened",
                "ops",
                &[("{{broadcaster}}", "sum by (broadcaster) (rate(broadcastd_events_skipped_total{#}[R]))")],
            ),
        ],
    ),
    (
        "Room",
        &[
            (
                "Events, records and outboxes",
                "bytes",
                &[
                    ("in use", "sum(broadcastd_memory_bytes{#})"),
                    ("hub.memory", "sum(broadcastd_memory_bound_bytes{#})"),
                    ("waiting in outboxes", "sum(broadcastd_outbox_bytes{#})"),
                    ("resident", "sum(process_resident_memory_bytes{job=\"broadcastd\",#})"),
                ],
            ),
            (
                "Kept",
                "short",
                &[
                    ("{{stream}} history", "sum by (stream) (broadcastd_stream_history_events{#})"),
                    ("{{stream}} records", "sum by (stream) (broadcastd_stream_records{#})"),
                ],
            ),
            (
                "Processor",
                "percentunit",
                &[("{{instance}}", "rate(process_cpu_seconds_total{job=\"broadcastd\",#}[R])")],
            ),
            (
                "Descriptors and threads",
                "short",
                &[
                    ("descriptors", "sum(process_open_fds{job=\"broadcastd\",#})"),
                    ("may be open", "sum(process_max_fds{job=\"broadcastd\",#})"),
                    ("threads", "sum(process_threads{job=\"broadcastd\",#})"),
                ],
            ),
        ],
    ),
];

/// Of the 24 columns of a dashboard.
const WIDTH: usize = 6;
const HEIGHT: usize = 7;
/// Of a panel that shows one word.
const LOW: usize = 4;

/// The dashboard as Grafana imports it.
pub fn json() -> String {
    let mut panels = Vec::new();
    let (mut id, mut y) = (0, 0);
    let mut next_id = || {
        id += 1;
        id
    };
    for (index, (title, row)) in ROWS.iter().enumerate() {
        let (kind, height) = if index == 0 { ("stat", LOW) } else { ("timeseries", HEIGHT) };
        let place = json!({"x": 0, "y": y, "w": 24, "h": 1});
        panels.push(json!({"id": next_id(), "type": "row", "title": title, "gridPos": place, "panels": []}));
        y += 1;
        for (place, drawn) in row.iter().enumerate() {
            let (x, below) = (place % (24 / WIDTH) * WIDTH, place / (24 / WIDTH) * height);
            panels.push(panel(next_id(), kind, drawn, &json!({"x": x, "y": y + below, "w": WIDTH, "h": height})));
        }
        y += row.len().div_ceil(24 / WIDTH) * height;
    }
    let text = serde_json::to_string_pretty(&around(panels)).expect("a value made of strings and numbers is JSON");
    text + "\n"
}

fn panel(id: usize, kind: &str, (title, unit, lines): &Panel, place: &Value) -> Value {
    let targets: Vec<Value> = lines
        .iter()
        .zip('A'..)
        .map(|((legend, expression), name)| {
            let expression = expression.replace('#', "instance=~\"$instance\"").replace("[R]", "[$__rate_interval]");
            let name = name.to_string();
            json!({"refId": name, "datasource": source(), "expr": expression, "legendFormat": legend})
        })
        .collect();
    let mut panel = json!({
        "id": id, "type": kind, "title": title, "gridPos": place, "datasource": source(),
        "fieldConfig": {"defaults": {"unit": unit}, "overrides": []}, "targets": targets,
    });
    if *unit == "string" {
        panel["options"] = json!({"textMode": "name"}); // the label, not the value
    }
    panel
}

fn source() -> Value {
    json!({"type": "prometheus", "uid": "${datasource}"})
}

fn around(panels: Vec<Value>) -> Value {
    let of_prometheus =
        json!({"name": "datasource", "label": "Data source", "type": "datasource", "query": "prometheus"});
    let instances = json!({
        "name": "instance", "label": "Instance", "type": "query", "datasource": source(), "refresh": 2,
        "query": "label_values(broadcastd_build_info, instance)", "multi": true, "includeAll": true, "allValue": ".*",
        "current": {"text": "All", "value": "$__all"},
    });
    json!({
        "uid": "broadcastd", "title": "broadcastd", "tags": ["broadcastd"], "schemaVersion": 38, "version": 1,
        "editable": true, "refresh": "10s", "time": {"from": "now-1h", "to": "now"}, "timezone": "browser",
        "templating": {"list": [of_prometheus, instances]}, "panels": panels,
    })
}
