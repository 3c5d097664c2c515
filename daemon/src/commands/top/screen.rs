//! What `broadcastd top` shows: made from what the daemon says, drawn as text, and nothing else.

use std::collections::{BTreeMap, VecDeque};

use serde_json::Value;

use super::super::daemon::state;
use super::super::table::Table;
use crate::control::Block;

/// Figures that the curves show: a minute, one each second.
const REMEMBERED: usize = 60;
/// From nothing to the most of a curve.
const STEPS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];

/// What a block says of the last second, if it is about that.
pub fn figures(block: &Block) -> Option<Value> {
    let mut message: Value = serde_json::from_str(&block.data).ok()?;
    (block.event == "figures").then(|| message["data"].take())
}

/// All that is known of the daemon.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Screen {
    figures: Value,
    published: VecDeque<f64>,
    delivered: VecDeque<f64>,
    broadcasters: BTreeMap<String, Value>,
    reload: Value,
    /// Why nothing new comes.
    pub trouble: Option<String>,
}

impl Screen {
    /// Takes what the daemon says on its own stream.
    pub fn hear(&mut self, block: &Block) {
        let Ok(Value::Object(mut message)) = serde_json::from_str(&block.data) else { return };
        let data = message.remove("data").unwrap_or_default();
        match block.event.as_str() {
            "full_update" => {
                let all = |collection: &str| data[collection].as_array().cloned().unwrap_or_default();
                self.broadcasters.clear();
                all("broadcasters").into_iter().for_each(|one| self.broadcaster(one));
                all("reloads").into_iter().for_each(|one| self.reload = one);
                all("figures").into_iter().for_each(|one| self.figures(one));
            }
            "broadcaster" => self.broadcaster(data),
            "reload" => self.reload = data,
            "figures" => self.figures(data),
            "draining" => self.trouble = Some("the daemon is stopping".to_owned()),
            _ => {}
        }
    }

    /// Whether there is something to look at.
    pub fn has_figures(&self) -> bool {
        !self.figures.is_null()
    }

    /// The whole picture, in at most so many columns and lines.
    pub fn draw(&self, width: usize, height: usize) -> String {
        let count = |key: &str| short(self.figures[key].as_f64().unwrap_or_default());
        let mut lines = vec![
            format!(
                "connections {:>8}   subscriptions {:>8}   lagged {:>6}   memory {:>8}B",
                count("connections"),
                count("subscriptions"),
                count("lagged"),
                count("memory_bytes")
            ),
            format!("published   {:>8}/s {}", count("published_per_s"), curve(&self.published)),
            format!("delivered   {:>8}/s {}", count("delivered_per_s"), curve(&self.delivered)),
            format!("last reload {}", last_reload(&self.reload)),
            String::new(),
        ];
        lines.extend(self.table().to_string().lines().map(str::to_owned));
        lines.extend(self.trouble.iter().flat_map(|trouble| [String::new(), trouble.clone()]));
        let fitting = lines.iter().take(height).map(|line| line.chars().take(width).collect::<String>());
        fitting.map(|line| format!("{}\n", line.trim_end())).collect()
    }

    fn broadcaster(&mut self, told: Value) {
        let Some(name) = told["name"].as_str().map(str::to_owned) else { return };
        if told["state"] == "removed" {
            self.broadcasters.remove(&name);
        } else {
            self.broadcasters.insert(name, told);
        }
    }

    fn figures(&mut self, told: Value) {
        for (curve, key) in [(&mut self.published, "published_per_s"), (&mut self.delivered, "delivered_per_s")] {
            curve.push_back(told[key].as_f64().unwrap_or_default());
            curve.drain(..curve.len().saturating_sub(REMEMBERED));
        }
        self.figures = told;
        self.trouble = None;
    }

    /// Those that need somebody come first.
    fn table(&self) -> Table {
        let mut table = Table::new(&["BROADCASTER", "STATE", "RESTARTS", "ERRORS", "WHAT IS WRONG"]);
        let mut all: Vec<(&String, &Value)> = self.broadcasters.iter().collect();
        all.sort_by_key(|(name, one)| (is_well(one), *name));
        for (name, one) in all {
            let word = |key: &str| one[key].as_str().unwrap_or_default().replace(|sign: char| sign.is_control(), " ");
            let wrong = [word("rolled_back"), word("degraded"), word("last_error")];
            let wrong = wrong.into_iter().find(|why| !why.is_empty());
            let wrong = [wrong, Some(word("next")).filter(|next| !next.is_empty())];
            let wrong = wrong.into_iter().flatten().collect::<Vec<_>>().join("; ");
            let counts = ["restarts", "errors"].map(|key| one[key].to_string());
            table.row([vec![name.clone(), state(one)], counts.to_vec(), vec![wrong]].concat());
        }
        table
    }
}

fn is_well(one: &Value) -> bool {
    one["state"] == "running" && one["degraded"].is_null() && one["rolled_back"].is_null()
}

fn last_reload(reload: &Value) -> String {
    match reload["outcome"].as_str() {
        None => "none since the start".to_owned(),
        Some("refused") => {
            let first = reload["messages"][0].as_str().unwrap_or_default();
            format!("refused: {}", first.replace(|sign: char| sign.is_control(), " "))
        }
        Some(outcome) => outcome.to_owned(),
    }
}

/// A number in a few letters: 999, 12.3k, 4.0M.
fn short(number: f64) -> String {
    let (mut left, mut unit) = (number, "");
    for larger in ["k", "M", "G", "T"] {
        if left < 1000.0 {
            break;
        }
        (left, unit) = (left / 1000.0, larger);
    }
    if unit.is_empty() && left.fract() == 0.0 { format!("{left}") } else { format!("{left:.1}{unit}") }
}

fn curve(values: &VecDeque<f64>) -> String {
    let most = values.iter().copied().fold(0.0, f64::max);
    let step = |value: &f64| match most > 0.0 {
        true => STEPS[((value / most * (STEPS.len() - 1) as f64).round() as usize).min(STEPS.len() - 1)],
        false => STEPS[0],
    };
    values.iter().map(step).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn block(event: &str, data: &Value) -> Block {
        Block { event: event.to_owned(), id: None, data: json!({"type": event, "data": data}).to_string() }
    }

    fn figures(published: f64) -> Value {
        json!({"connections": 1200, "subscriptions": 34, "published_per_s": published, "delivered_per_s": 0.0, "lagged": 2, "memory_bytes": 1_234_567})
    }

    fn broadcaster(name: &str, state: &str, last_error: Option<&str>) -> Value {
        json!({"name": name, "state": state, "restarts": 1, "errors": 10, "last_error": last_error, "degraded": null})
    }

    fn screen() -> Screen {
        let mut screen = Screen::default();
        let all = [broadcaster("bars", "running", None), broadcaster("spc", "backing_off", Some("panicked\nat 7"))];
        screen.hear(&block("full_update", &json!({"broadcasters": all, "figures": [figures(0.0)], "reloads": []})));
        for published in [50.0, 100.0, 25.5] {
            screen.hear(&block("figures", &figures(published)));
        }
        screen
    }

    const DRAWN: &str = "\
connections     1.2k   subscriptions       34   lagged      2   memory     1.2MB
published       25.5/s ▁▅█▃
delivered          0/s ▁▁▁▁
last reload none since the start

BROADCASTER  STATE        RESTARTS  ERRORS  WHAT IS WRONG
spc          backing_off         1      10  panicked at 7
bars         running             1      10
";

    #[test]
    fn all_that_is_known_is_drawn_and_those_in_trouble_first() {
        assert_eq!(screen().draw(80, 24), DRAWN);
    }

    #[test]
    fn nothing_is_drawn_beyond_the_edges() {
        let drawn = screen().draw(20, 3);
        assert_eq!(drawn.lines().count(), 3);
        assert!(drawn.lines().all(|line| line.chars().count() <= 20), "{drawn}");
        assert_eq!(screen().draw(0, 0), "");
    }

    #[test]
    fn what_happens_is_seen() {
        let mut screen = screen();
        screen.hear(&block("broadcaster", &json!({"name": "spc", "state": "removed"})));
        screen.hear(&block("broadcaster", &broadcaster("bars", "quarantined", Some("too often"))));
        screen.hear(&block("reload", &json!({"outcome": "refused", "messages": ["unknown key `x`"]})));
        screen.hear(&block("draining", &json!({"deadline_s": 5})));
        let drawn = screen.draw(80, 24);
        assert!(!drawn.contains("spc") && drawn.contains("bars         quarantined"), "{drawn}");
        assert!(drawn.contains("last reload refused: unknown key `x`\n"), "{drawn}");
        assert!(drawn.ends_with("\n\nthe daemon is stopping\n"), "{drawn}");
        screen.hear(&block("figures", &figures(1.0)));
        assert!(!screen.draw(80, 24).contains("stopping"), "it goes on");
    }

    #[test]
    fn a_curve_remembers_a_minute() {
        let mut screen = Screen::default();
        assert!(!screen.has_figures());
        (0..REMEMBERED + 5).for_each(|n| screen.hear(&block("figures", &figures(n as f64))));
        assert_eq!((screen.published.len(), screen.published[0]), (REMEMBERED, 5.0));
    }

    #[test]
    fn numbers_are_short() {
        let said = [0.0, 7.0, 7.25, 999.0, 1000.0, 12_345.0, 4_000_000.0].map(short);
        assert_eq!(said, ["0", "7", "7.2", "999", "1.0k", "12.3k", "4.0M"]);
    }
}
