//! Which run rules are in force, with their parameters, and what each is called.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::chart::{Chart, USUAL_WIDTH};
use crate::runs::{Pattern, Rule};

/// What the rules 1 to 8 are called.
const NAMES: [&str; 8] =
    ["Outlier", "Shift", "Trend", "Alternator", "Zone A Warning", "Zone B Warning", "Stratification", "Mixture"];

/// The rules that hold for counts, which are not spread evenly around their centre.
const MAX_RULE_OF_COUNTS: u8 = 4;

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum RuleSet {
    Named(NamedRules),
    Listed(Vec<RuleSettings>),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum NamedRules {
    /// Rules 1 to 8.
    Nelson,
    /// Rules 1, 5, 6, and 2 with eight points.
    WesternElectric,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum RuleSettings {
    Number(#[schemars(range(min = 1, max = 8))] u8),
    With(RuleParameters),
}

/// A rule with other figures than the usual ones.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RuleParameters {
    /// Its number.
    #[schemars(range(min = 1, max = 8))]
    pub rule: u8,
    /// How many points, from 2 to 64; not of rule 1. Default: 9, 6, 14, 2, 4, 15 and 8 of the rules 2 to 8.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 2, max = 64))]
    pub run: Option<u32>,
    /// Rules 2, 5 and 6: of how many points. Default: 3 and 5 of the rules 5 and 6, else `run`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 2, max = 64))]
    pub of: Option<u32>,
    /// Rule 1: the distance of the limits from the centre in standard errors. Default: 3.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sigma: Option<f64>,
}

/// Where the points of rule 8 have to be.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Sides {
    #[default]
    BothSides,
    Any,
}

impl Default for RuleSet {
    fn default() -> Self {
        RuleSet::Named(NamedRules::Nelson)
    }
}

impl RuleSet {
    /// The rules in force for a chart.
    pub fn of(&self, chart: Chart, sides: Sides) -> Vec<Rule> {
        if chart.accumulates() {
            return vec![Rule { id: 1, pattern: Pattern::Outside }];
        }
        let fitting = self.parameters().into_iter().filter(|parameters| fits(parameters.rule, chart));
        fitting.map(|parameters| Rule { id: parameters.rule, pattern: parameters.pattern(sides) }).collect()
    }

    /// How far the limits are from the centre, in standard errors.
    pub fn width(&self) -> f64 {
        let first = self.parameters().into_iter().find(|parameters| parameters.rule == 1);
        first.and_then(|parameters| parameters.sigma).unwrap_or(USUAL_WIDTH)
    }

    fn parameters(&self) -> Vec<RuleParameters> {
        let usual = |rule: u8| RuleParameters { rule, ..RuleParameters::default() };
        match self {
            RuleSet::Named(NamedRules::Nelson) => (1..=8).map(usual).collect(),
            RuleSet::Named(NamedRules::WesternElectric) => {
                vec![usual(1), RuleParameters { run: Some(8), ..usual(2) }, usual(5), usual(6)]
            }
            RuleSet::Listed(list) => list.iter().map(RuleSettings::parameters).collect(),
        }
    }
}

impl RuleSettings {
    pub fn parameters(&self) -> RuleParameters {
        match self {
            RuleSettings::Number(rule) => RuleParameters { rule: *rule, ..RuleParameters::default() },
            RuleSettings::With(parameters) => parameters.clone(),
        }
    }
}

impl RuleParameters {
    /// At least so many points of so many.
    pub fn window(&self) -> (u32, u32) {
        let (usual_run, usual_of) = match self.rule {
            2 => (9, 0),
            3 => (6, 0),
            4 => (14, 0),
            5 => (2, 3),
            6 => (4, 5),
            7 => (15, 0),
            _ => (8, 0),
        };
        let run = self.run.unwrap_or(usual_run);
        (run, self.of.unwrap_or(if usual_of == 0 { run } else { usual_of }))
    }

    fn pattern(&self, sides: Sides) -> Pattern {
        let (run, of) = self.window();
        match self.rule {
            1 => Pattern::Outside,
            2 => Pattern::OneSide { run, of, sigmas: 0.0 },
            3 => Pattern::Trend { run },
            4 => Pattern::Alternating { run },
            5 => Pattern::OneSide { run, of, sigmas: 2.0 },
            6 => Pattern::OneSide { run, of, sigmas: 1.0 },
            7 => Pattern::Near { run },
            _ if sides == Sides::BothSides => Pattern::FarOnBothSides { run },
            _ => Pattern::Far { run },
        }
    }
}

/// Whether a rule says anything about points of this chart.
pub fn fits(rule: u8, chart: Chart) -> bool {
    rule <= MAX_RULE_OF_COUNTS || !chart.counts()
}

pub fn name(rule: u8, chart: Chart) -> &'static str {
    match chart {
        Chart::Ewma => "EWMA Signal",
        Chart::Cusum => "CUSUM Signal",
        _ => NAMES.get(usize::from(rule).saturating_sub(1)).copied().unwrap_or("Rule"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(json: &str) -> RuleSet {
        serde_json::from_str(json).unwrap()
    }

    #[test]
    fn names_stand_for_what_fits_the_chart() {
        let numbers =
            |rules: &RuleSet, chart| rules.of(chart, Sides::BothSides).iter().map(|rule| rule.id).collect::<Vec<_>>();
        let nelson = RuleSet::default();
        assert_eq!(numbers(&nelson, Chart::Imr), [1, 2, 3, 4, 5, 6, 7, 8]);
        assert_eq!(numbers(&nelson, Chart::Np), [1, 2, 3, 4]);
        let western = read("\"western_electric\"");
        assert_eq!((numbers(&western, Chart::Imr), numbers(&western, Chart::C)), (vec![1, 2, 5, 6], vec![1, 2]));
        assert_eq!(numbers(&western, Chart::Ewma), [1], "it signals by its limits alone");
        let second = western.of(Chart::Imr, Sides::BothSides)[1];
        assert_eq!(second.pattern, Pattern::OneSide { run: 8, of: 8, sigmas: 0.0 });
    }

    #[test]
    fn a_list_has_its_own_figures() {
        let rules = read(r#"[{"rule":1,"sigma":2.5},{"rule":2,"run":10,"of":11},{"rule":5,"of":4},8]"#);
        let patterns: Vec<Pattern> = rules.of(Chart::Imr, Sides::Any).iter().map(|rule| rule.pattern).collect();
        let side = |run, of, sigmas| Pattern::OneSide { run, of, sigmas };
        assert_eq!(patterns, [Pattern::Outside, side(10, 11, 0.0), side(2, 4, 2.0), Pattern::Far { run: 8 }]);
        assert_eq!((rules.width(), RuleSet::default().width()), (2.5, 3.0));
    }
}
