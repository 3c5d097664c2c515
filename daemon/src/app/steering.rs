//! What operators want of single broadcasters beside the configuration, for as long as the daemon runs.

use std::collections::{BTreeMap, BTreeSet};

use super::plan::Plan;
use super::reload::{Done, diagnostics, done, mistaken, odd, settings};
use super::{App, parts};
use crate::admin::orders::{Deed, Outcome};
use crate::config::diagnostic::Diagnostics;
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
    pub fn applied(&self, config: &Config) -> Config {
        let mut config = config.clone();
        let disabled = config.broadcasters.iter_mut().filter(|(name, _)| self.disabled.contains(*name));
        disabled.for_each(|(_, one)| one.enabled = false);
        config
    }

    pub fn steered(&self, wanted: Wanted) -> Wanted {
        Wanted { generation: self.generations.get(&wanted.name).copied().unwrap_or_default(), ..wanted }
    }
}

impl App {
    /// Does something to one broadcaster; everything else goes on with the configuration and the files that it has.
    pub fn steer(&mut self, name: &str, deed: Deed) -> Outcome {
        let Some(in_file) = self.taken.config.broadcasters.get(name) else {
            return refused(&format!("no broadcaster is called {name}"));
        };
        let is_enabled = in_file.enabled && !self.steering.disabled.contains(name);
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
            Deed::Enable if !in_file.enabled => {
                return refused(&format!(
                    "broadcaster {name} is disabled in the configuration; set enabled = true there"
                ));
            }
            Deed::Enable if !self.steering.disabled.remove(name) => {
                return refused(&format!("broadcaster {name} is not disabled"));
            }
            Deed::Enable => {}
            Deed::Swap => rejected = self.supervisor.forgive(name),
            Deed::Rollback => return self.roll_back(name),
        }
        let files = if deed == Deed::Swap { Files::Of(name) } else { Files::Missing };
        let title = format!("{} of broadcaster {name}", deed.name());
        match self.exchange(name, files) {
            Ok(report) if deed == Deed::Swap && report.plan.is_nothing() => {
                self.supervisor.end_rollback(name);
                refused(&format!(
                    "broadcaster {name} runs the file of its plugin as it is; put another one in its place first"
                ))
            }
            Ok(report) => {
                self.diary.reload_applied(&report);
                done("applied", &title, &report.plan)
            }
            Err(report) => {
                self.steering = before;
                if let Some(rejected) = rejected {
                    self.supervisor.reject(name, rejected);
                }
                mistaken(&report)
            }
        }
    }

    /// One broadcaster as it is wanted now, by the configuration that was taken last, for what it is at present. Nothing
    /// else is looked at: no file, no secret, no other broadcaster.
    fn exchange(&mut self, name: &str, files: Files<'_>) -> Result<Done, Diagnostics> {
        let document = &self.taken.document;
        let at_their_places = |problems| Diagnostics::about(document, diagnostics(document, problems));
        let config = self.steering.applied(&self.taken.config);
        let broadcaster = config.broadcasters.get(name).expect("it was looked up before anything is done to it");
        let settings = settings(&self.supervisor, document, (name, broadcaster), files);
        let settings = settings.map_err(|mistakes| Diagnostics::about(document, mistakes))?;
        let wanted = self.steering.steered(parts::wanted(&config.hub, name, broadcaster, settings));
        let prepared = self.supervisor.prepare_one(wanted, files).map_err(at_their_places)?;
        let plan = Plan::new(&self.hub, (&self.config, &config), &prepared, Vec::new());
        let plan = plan.with_warnings(&Diagnostics::about(document, odd(document, &prepared)));
        let changes = self.supervisor.commit(prepared).map_err(at_their_places)?;
        plan.tell_what_is_held_back();
        self.config = config;
        Ok(Done { changes, waiting: Vec::new(), plan })
    }

    fn roll_back(&self, name: &str) -> Outcome {
        match self.supervisor.roll_back(name, "an operator wanted it") {
            Ok(told) => {
                tracing::info!(broadcaster = name, "it was {told}");
                let text = format!("broadcaster {name} was {told}\n");
                Outcome { is_done: true, report: serde_json::json!({"outcome": "applied", "text": text}) }
            }
            Err(problem) => refused(&format!("broadcaster {name} stays as it is: {}", problem.message)),
        }
    }
}

fn refused(text: &str) -> Outcome {
    Outcome { is_done: false, report: serde_json::json!({"outcome": "refused", "text": text}) }
}
