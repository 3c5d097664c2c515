//! What runs showed, as it is kept in a file: tables are made from that.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

use crate::figures::Figures;
use crate::workload::WORKLOADS;

#[derive(Debug, Default, Serialize, Deserialize)]
pub struct Results {
    /// Commit, machine, and how busy that was with other things.
    pub setting: String,
    /// How much was done for each figure.
    pub effort: String,
    pub runs: Vec<Run>,
}

#[derive(Debug, Serialize, Deserialize)]
pub struct Run {
    pub workload: String,
    pub peer: String,
    pub round: usize,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure: Option<String>,
    pub figures: Figures,
}

impl Run {
    /// It failed, or nothing came any more.
    pub fn went_wrong(&self) -> bool {
        self.failure.is_some() || self.figures.find("stalled").is_some()
    }
}

impl Results {
    pub fn read(file: &Path) -> Result<Self> {
        let text = fs::read_to_string(file).with_context(|| format!("{} cannot be read", file.display()))?;
        serde_json::from_str(&text).with_context(|| format!("{} holds no results", file.display()))
    }

    pub fn write(&self, file: &Path) -> Result<()> {
        let text = serde_json::to_string_pretty(self)?;
        fs::write(file, text + "\n").with_context(|| format!("{} cannot be written", file.display()))
    }

    pub fn of<'a>(&'a self, workload: &'a str, peer: &'a str) -> impl Iterator<Item = &'a Run> {
        self.runs.iter().filter(move |run| run.workload == workload && run.peer == peer)
    }

    pub fn workloads_without_runs(&self) -> Vec<&'static str> {
        let names = WORKLOADS.iter().map(|workload| workload.name);
        names.filter(|name| self.runs.iter().all(|run| run.workload != *name)).collect()
    }

    /// A figure of each round that has it. A run that stalled has none that counts.
    pub fn figures(&self, workload: &str, peer: &str, name: &str) -> Vec<(usize, f64)> {
        let whole = self.of(workload, peer).filter(|run| run.figures.find("stalled").is_none());
        whole.filter_map(|run| Some((run.round, run.figures.find(name)?))).collect()
    }

    /// The best of several servers in each round in which one of them has the figure.
    pub fn best(&self, workload: &str, peers: &[&str], name: &str) -> Vec<(usize, f64)> {
        let mut all: Vec<(usize, f64)> = peers.iter().flat_map(|peer| self.figures(workload, peer, name)).collect();
        all.sort_by(|one, other| one.0.cmp(&other.0).then(other.1.total_cmp(&one.1)));
        all.dedup_by_key(|(round, _)| *round);
        all
    }
}

/// Two figures of the same round, put together: what disturbed both drops out.
pub fn paired(ours: &[(usize, f64)], theirs: &[(usize, f64)], together: impl Fn(f64, f64) -> f64) -> Vec<f64> {
    let find = |round| theirs.iter().find(|(other, _)| *other == round).map(|(_, value)| *value);
    ours.iter().filter_map(|(round, value)| Some(together(*value, find(*round)?))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(peer: &str, round: usize, words: &str) -> Run {
        Run { workload: "W".into(), peer: peer.into(), round, failure: None, figures: Figures::read(words) }
    }

    #[test]
    fn the_best_of_each_round_is_compared_with_ours_of_that_round() {
        let runs = vec![
            run("ours", 0, "x=6"),
            run("a", 0, "x=2"),
            run("b", 0, "x=3"),
            run("ours", 1, "x=8"),
            run("a", 1, "x=4"),
            run("b", 1, "x=1"),
            run("ours", 2, "x=9"),
            run("a", 2, "x=5 stalled=1"),
        ];
        let results = Results { runs, ..Results::default() };
        let best = results.best("W", &["a", "b"], "x");
        assert_eq!(best, [(0, 3.0), (1, 4.0)]);
        assert_eq!(paired(&results.figures("W", "ours", "x"), &best, |ours, best| ours / best), [2.0, 2.0]);
    }
}
