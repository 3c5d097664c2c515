//! What operators want of single broadcasters beside the configuration, for as long as the daemon runs.

use std::collections::{BTreeMap, BTreeSet};

use super::App;
use super::reload::done;
use crate::admin::orders::{Deed, Outcome};
use crate::config::schema::Config;
use crate::plugin::files::Files;
use crate::plugin::plan::Wanted;

/// Survives reloads, and not the daemon.
#[derive(Clone, Debug, Default)]
pub struct Steering {
    disabled: BTreeSet<String>,
    /// How often each was started anew.
    generations: BTreeMap<String, u64>,
}

impl Steering {
    /// What the configuration means with it.
    pub fn apply(&self, config: &mut Config) {
        let disabled = config.broadcasters.iter_mut().filter(|(name, _)| self.disabled.contains(*name));
        disabled.for_each(|(_, one)| one.enabled = false);
    }

    pub fn steered(&self, wanted: Wanted) -> Wanted {
        Wanted { generation: self.generations.get(&wanted.name).copied().unwrap_or_default(), ..wanted }
    }
}

impl App {
    /// Does something to one broadcaster; everything else goes on with the configuration and the files that it has.
    pub fn steer(&mut self, name: &str, deed: Deed) -> Outcome {
        let is_enabled = self.config.broadcasters.get(name).is_some_and(|one| one.enabled);
        if !is_enabled && deed != Deed::Enable {
            return refused(&format!(
                "broadcaster {name} is disabled; nothing else can be done to it than to enable it"
            ));
        }
        let (before, mut rejected) = (self.steering.clone(), None);
        self.last_done = None; // what a reload did before is not the last thing that was done
        match deed {
            Deed::Restart => *self.steering.generations.entry(name.to_owned()).or_default() += 1,
            Deed::Disable => _ = self.steering.disabled.insert(name.to_owned()),
            Deed::Enable if !self.steering.disabled.remove(name) => {
                let text = if is_enabled {
                    format!("broadcaster {name} is not disabled")
                } else {
                    format!("broadcaster {name} is disabled in the configuration; set enabled = true there")
                };
                return refused(&text);
            }
            Deed::Enable => {}
            Deed::Swap => rejected = self.supervisor.forgive(name),
            Deed::Rollback => return self.roll_back(name),
        }
        let files = if deed == Deed::Swap { Files::Of(name) } else { Files::Missing };
        let title = format!("{} of broadcaster {name}", deed.name());
        match self.try_reload(&self.text.clone(), files) {
            Ok(report) if deed == Deed::Swap && report.plan.is_nothing() => refused(&format!(
                "broadcaster {name} runs the file of its plugin as it is; put another one in its place first"
            )),
            Ok(report) => {
                self.diary.reload_applied(&report);
                done("applied", &title, &report.plan)
            }
            Err(report) => {
                self.steering = before;
                if let Some(rejected) = rejected {
                    self.supervisor.reject(name, rejected);
                }
                super::reload::mistaken(&report)
            }
        }
    }

    fn roll_back(&self, name: &str) -> Outcome {
        match self.supervisor.roll_back(name, "an operator wanted it") {
            Ok(()) => {
                let text = format!("broadcaster {name} runs the file of its plugin that it had before\n");
                Outcome { is_done: true, report: serde_json::json!({"outcome": "applied", "text": text}) }
            }
            Err(problem) => refused(&format!("broadcaster {name} stays as it is: {}", problem.message)),
        }
    }
}

fn refused(text: &str) -> Outcome {
    Outcome { is_done: false, report: serde_json::json!({"outcome": "refused", "text": text}) }
}
