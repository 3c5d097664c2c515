//! What a schema cannot say about settings: everything that is wrong, each at its place.

use std::collections::BTreeSet;

use broadcastd_plugin_api::duration::Duration;

use crate::chart::Chart;
use crate::constants::MAX_RANGE_SIZE;
use crate::rules::{self, RuleParameters, RuleSet, RuleSettings};
use crate::runs::MAX_RUN;
use crate::sample::{MAX_MAGNITUDE, MAX_VALUES, MIN_MAGNITUDE};
use crate::settings::{LimitSettings, Mode, Plan, Settings, SourceName};

/// Characteristics that are listed and such that are not, together. With 25 samples, 64 open violations, limits and
/// capability each they stay below the records that a stream has by default.
pub const MAX_CHARACTERISTICS: usize = 1_000;

/// Samples of one characteristic that limits are computed from; they are kept, and what is saved has its bounds.
pub const MAX_BASELINE: u32 = 100;

/// A name is kept with each open violation.
pub const MAX_NAME_BYTES: usize = 100;

/// Excluded samples of one characteristic; each sample is compared with all.
pub const MAX_EXCLUDED: usize = 100;

/// A shorter interval measures more than anyone can read.
const SHORTEST_INTERVAL: Duration = Duration::from_ms(10);

/// What is wrong: JSON pointers with what to do.
#[derive(Default)]
struct Wrong(Vec<(String, String)>);

/// Everything that is wrong with settings.
pub fn wrong(settings: &Settings) -> Vec<(String, String)> {
    let mut wrong = Wrong::default();
    let Settings { source, interval, auto, characteristics } = settings;
    if *interval < SHORTEST_INTERVAL {
        wrong.at("/interval".into(), format!("the interval must be at least {SHORTEST_INTERVAL}"));
    }
    if *source == SourceName::Mock && auto.chart.is_some() {
        let why = "what is made up has charts of its own kinds; leave the chart out, and each follows from its samples";
        wrong.at("/auto/chart".into(), why.into());
    }
    let alone = "it is for all characteristics that are not listed; list the one that this is for";
    let rules = [
        (auto.id.is_some(), "id", alone),
        (auto.name.is_some(), "name", alone),
        (!auto.exclude.is_empty(), "exclude", alone),
    ];
    wrong.broken("/auto", &rules);
    wrong.plan("/auto", auto);
    if characteristics.len() > MAX_CHARACTERISTICS {
        let why =
            format!("up to {MAX_CHARACTERISTICS} characteristics are watched, these are {}", characteristics.len());
        wrong.at("/characteristics".into(), why);
    }
    let mut ids = BTreeSet::new();
    for (index, plan) in characteristics.iter().enumerate() {
        let place = format!("/characteristics/{index}");
        match &plan.id {
            None => wrong.at(place.clone(), "a characteristic needs an id, as its samples name it".into()),
            Some(id) if !ids.insert(id.text()) => {
                wrong.at(format!("{place}/id"), format!("{id} is listed twice; remove one"))
            }
            Some(id) => wrong.rule(format!("{place}/id"), id.broken_rule()),
        }
        wrong.plan(&place, plan);
    }
    wrong.0
}

impl Wrong {
    fn at(&mut self, pointer: String, why: String) {
        self.0.push((pointer, why));
    }

    fn rule(&mut self, pointer: String, broken: Option<String>) {
        self.0.extend(broken.map(|why| (pointer, why)));
    }

    /// Rules of keys below a place: whether each is broken, the key and what to do.
    fn broken(&mut self, place: &str, rules: &[(bool, &str, &str)]) {
        let broken = rules.iter().filter(|(is_broken, ..)| *is_broken);
        self.0.extend(broken.map(|(_, key, why)| (format!("{place}/{key}"), (*why).to_owned())));
    }

    fn plan(&mut self, place: &str, plan: &Plan) {
        for (index, id) in plan.exclude.iter().enumerate() {
            self.rule(format!("{place}/exclude/{index}"), id.broken_rule());
        }
        if plan.exclude.len() > MAX_EXCLUDED {
            let why = format!("up to {MAX_EXCLUDED} samples are excluded, these are {}", plan.exclude.len());
            self.at(format!("{place}/exclude"), why);
        }
        let name = plan.name.as_ref().map_or(0, String::len);
        if name > MAX_NAME_BYTES {
            self.at(format!("{place}/name"), format!("a name has up to {MAX_NAME_BYTES} bytes, this one has {name}"));
        }
        match plan.chart {
            None => self.without_chart(place, plan),
            Some(chart) => {
                self.size(place, plan, chart);
                self.limits(&format!("{place}/limits"), plan, chart);
                self.spec(place, plan, chart);
                self.weights(place, plan, chart);
                self.rules(place, plan, chart);
            }
        }
    }

    fn without_chart(&mut self, place: &str, plan: &Plan) {
        let why = "it depends on the chart; name the chart";
        let rules = [
            (plan.subgroup_size.is_some(), "subgroup_size", why),
            (plan.limits.mode != Mode::Baseline, "limits/mode", why),
            (plan.spec.is_some(), "spec", why),
            (plan.ewma.is_some(), "ewma", why),
            (plan.cusum.is_some(), "cusum", why),
            (matches!(plan.rules, RuleSet::Listed(_)), "rules", why),
        ];
        self.broken(place, &rules);
        self.limits_of_mode(&format!("{place}/limits"), &plan.limits);
    }

    fn size(&mut self, place: &str, plan: &Plan, chart: Chart) {
        let pointer = format!("{place}/subgroup_size");
        let Some(size) = plan.subgroup_size else {
            let varies = matches!(chart, Chart::XbarR | Chart::XbarS | Chart::P | Chart::Np | Chart::U);
            if varies && plan.limits.mode == Mode::Standard {
                self.at(
                    pointer,
                    "limits depend on the size of a sample; say how many values or units a usual one has".into(),
                );
            }
            return;
        };
        let (least, most) = match chart {
            Chart::XbarR => (2.0, MAX_RANGE_SIZE as f64),
            Chart::XbarS => (2.0, MAX_VALUES as f64),
            Chart::Imr | Chart::C => (1.0, 1.0),
            Chart::Ewma | Chart::Cusum => (1.0, MAX_VALUES as f64),
            Chart::P | Chart::Np => (1.0, MAX_MAGNITUDE),
            Chart::U => (MIN_MAGNITUDE, MAX_MAGNITUDE),
        };
        if !(least..=most).contains(&size) || (chart != Chart::U && size.fract() != 0.0) {
            let why = match chart {
                Chart::U => positive_range("a size"),
                Chart::P | Chart::Np => "a size is a whole number from 1".to_owned(),
                Chart::XbarR => format!("ranges are of {least} to {most} values; the chart xbar_s takes more"),
                _ => format!("a sample of this chart has {least} to {most} values"),
            };
            self.at(pointer, why);
        }
    }

    fn limits(&mut self, place: &str, plan: &Plan, chart: Chart) {
        let LimitSettings { mode, mean, sigma, center, ucl, lcl, .. } = plan.limits;
        self.limits_of_mode(place, &plan.limits);
        match mode {
            Mode::Baseline => {}
            Mode::Standard => {
                self.number(place, "mean", mean);
                if chart.counts() {
                    let why = "where something is counted it follows from the mean; leave it out";
                    self.broken(place, &[(sigma.is_some(), "sigma", why)]);
                    let most = if matches!(chart, Chart::P | Chart::Np) { 1.0 } else { MAX_MAGNITUDE };
                    if mean.is_some_and(|mean| !(mean > 0.0 && mean < most)) {
                        self.at(format!("{place}/mean"), format!("the mean is a number above 0 and below {most}"));
                    }
                } else {
                    self.number(place, "sigma", sigma);
                    self.positive(place, "sigma", sigma);
                }
            }
            Mode::Fixed => {
                let why = "the limits of this chart are l or h; use \"baseline\" or \"standard\"";
                self.broken(place, &[(chart.accumulates(), "mode", why)]);
                for (key, value) in [("center", center), ("ucl", ucl), ("lcl", lcl)] {
                    self.number(place, key, value);
                }
                self.positive(place, "sigma", sigma);
                if let (Some(center), Some(ucl), Some(lcl)) = (center, ucl, lcl)
                    && !(lcl <= center && center <= ucl && lcl < ucl)
                {
                    self.at(place.to_owned(), "the centre lies between lcl and ucl, which differ".into());
                }
            }
        }
    }

    /// The keys of the other modes.
    fn limits_of_mode(&mut self, place: &str, limits: &LimitSettings) {
        let LimitSettings { mode, samples, mean, sigma, center, ucl, lcl } = limits;
        let range = 2..=MAX_BASELINE;
        if samples.is_some_and(|samples| !range.contains(&samples)) {
            self.at(format!("{place}/samples"), format!("limits are computed from 2 to {MAX_BASELINE} samples"));
        }
        for (key, is_given, modes) in [
            ("samples", samples.is_some(), &[Mode::Baseline][..]),
            ("mean", mean.is_some(), &[Mode::Standard]),
            ("sigma", sigma.is_some(), &[Mode::Standard, Mode::Fixed]),
            ("center", center.is_some(), &[Mode::Fixed]),
            ("ucl", ucl.is_some(), &[Mode::Fixed]),
            ("lcl", lcl.is_some(), &[Mode::Fixed]),
        ] {
            let why = "it belongs to another mode; leave it out, or set the mode";
            self.broken(place, &[(is_given && !modes.contains(mode), key, why)]);
        }
    }

    fn spec(&mut self, place: &str, plan: &Plan, chart: Chart) {
        let Some(spec) = plan.spec else { return };
        self.broken(place, &[(chart.counts(), "spec", "capability is of values that are measured; leave it out")]);
        let place = &format!("{place}/spec");
        for (key, value) in [("usl", spec.usl), ("lsl", spec.lsl), ("target", spec.target)] {
            self.rule(format!("{place}/{key}"), value.and_then(too_large));
        }
        if spec.usl.is_none() && spec.lsl.is_none() {
            self.at(place.clone(), "a specification has a usl, an lsl or both".into());
        }
        if let (Some(usl), Some(lsl)) = (spec.usl, spec.lsl)
            && lsl >= usl
        {
            self.at(format!("{place}/lsl"), "lsl must be below usl".into());
        }
    }

    fn weights(&mut self, place: &str, plan: &Plan, chart: Chart) {
        let (ewma, cusum) = (plan.ewma(), plan.cusum());
        let is_weight = ewma.lambda > 0.0 && ewma.lambda <= 1.0;
        let is_slack = (0.0..=MAX_MAGNITUDE).contains(&cusum.k);
        let rules = [
            (plan.ewma.is_some() && chart != Chart::Ewma, "ewma", "it is for the chart \"ewma\"; leave it out"),
            (plan.cusum.is_some() && chart != Chart::Cusum, "cusum", "it is for the chart \"cusum\"; leave it out"),
            (!is_weight, "ewma/lambda", "the weight of a sample is above 0 and at most 1"),
            (!is_slack, "cusum/k", "the slack is 0 or above"),
            (!(0.0..1.0).contains(&cusum.fir), "cusum/fir", "a head start is 0 or above and below 1"),
        ];
        self.broken(place, &rules);
        self.positive(place, "ewma/l", Some(ewma.l));
        self.positive(place, "cusum/h", Some(cusum.h));
    }

    fn rules(&mut self, place: &str, plan: &Plan, chart: Chart) {
        let RuleSet::Listed(list) = &plan.rules else { return };
        let place = &format!("{place}/rules");
        if chart.accumulates() {
            return self.at(place.clone(), "this chart signals by its own limits alone; leave rules out".into());
        }
        let mut numbers = BTreeSet::new();
        for (index, entry) in list.iter().enumerate() {
            let place = format!("{place}/{index}");
            let rule = entry.parameters().rule;
            if !(1..=8).contains(&rule) {
                self.at(place, "rules are numbered 1 to 8".into());
            } else if !numbers.insert(rule) {
                self.at(place, format!("rule {rule} is listed twice; remove one"));
            } else if !rules::fits(rule, chart) {
                let why = "rules 5 to 8 are for values that are measured, spread evenly around their centre; remove it";
                self.at(place, why.into());
            } else if let RuleSettings::With(parameters) = entry {
                self.parameters(&place, parameters, plan.limits.mode);
            }
        }
    }

    fn parameters(&mut self, place: &str, parameters: &RuleParameters, mode: Mode) {
        let RuleParameters { rule, run, of, sigma } = parameters;
        let rules = [
            (run.is_some() && *rule == 1, "run", "rule 1 is of one point; leave it out"),
            (of.is_some() && ![2, 5, 6].contains(rule), "of", "only the rules 2, 5 and 6 have it; leave it out"),
            (sigma.is_some() && *rule != 1, "sigma", "only rule 1 has it; leave it out"),
            (sigma.is_some() && mode == Mode::Fixed, "sigma", "limits are fixed; leave it out"),
        ];
        self.broken(place, &rules);
        self.positive(place, "sigma", *sigma);
        let (run, of) = parameters.window();
        let range = 2..=MAX_RUN;
        if !range.contains(&run) {
            self.at(format!("{place}/run"), format!("a pattern has 2 to {MAX_RUN} points"));
        } else if !(run..=MAX_RUN).contains(&of) {
            self.at(
                format!("{place}/of"),
                format!("of how many points is at least run, which is {run}, and at most {MAX_RUN}"),
            );
        }
    }

    /// A number that the mode needs.
    fn number(&mut self, place: &str, key: &str, value: Option<f64>) {
        match value {
            None => self.at(format!("{place}/{key}"), format!("this mode needs a number {key}")),
            Some(value) => self.rule(format!("{place}/{key}"), too_large(value)),
        }
    }

    fn positive(&mut self, place: &str, key: &str, value: Option<f64>) {
        let is_positive = |value: f64| (MIN_MAGNITUDE..=MAX_MAGNITUDE).contains(&value);
        self.broken(place, &[(value.is_some_and(|value| !is_positive(value)), key, &positive_range("it"))]);
    }
}

fn positive_range(what: &str) -> String {
    format!("{what} is a number from {MIN_MAGNITUDE:e} to {MAX_MAGNITUDE:e}")
}

fn too_large(value: f64) -> Option<String> {
    (value.abs() > MAX_MAGNITUDE).then(|| format!("numbers beyond {MAX_MAGNITUDE:e} are not reckoned with"))
}
