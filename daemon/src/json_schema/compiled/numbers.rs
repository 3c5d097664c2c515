//! Bounds of a number, or of a length.

use serde_json::Value;

/// From where to where, each end with or without itself.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Bounds {
    least: Option<f64>,
    most: Option<f64>,
    above: Option<f64>,
    below: Option<f64>,
}

impl Bounds {
    /// Takes a keyword such as `minimum` or `maxLength`; the error is the rule that its value breaks.
    pub fn read(&mut self, keyword: &str, value: &Value) -> Result<(), String> {
        let is_length = !keyword.ends_with("imum");
        if is_length && !value.is_u64() {
            return Err("a whole number, 0 or more, is needed".to_owned());
        }
        let number = value.as_f64().ok_or("a number is needed")?;
        let bound = match keyword {
            "exclusiveMinimum" => &mut self.above,
            "exclusiveMaximum" => &mut self.below,
            least if least.starts_with("min") => &mut self.least,
            _ => &mut self.most,
        };
        *bound = Some(number);
        Ok(())
    }

    /// The bound that a number breaks, in words.
    pub fn broken_by(&self, number: f64) -> Option<String> {
        let broken = |bound: Option<f64>, is_broken: fn(f64, f64) -> bool, words: &str| {
            bound.filter(|bound| is_broken(number, *bound)).map(|bound| format!("{words} {bound}"))
        };
        broken(self.least, |number, bound| number < bound, "at least")
            .or_else(|| broken(self.most, |number, bound| number > bound, "at most"))
            .or_else(|| broken(self.above, |number, bound| number <= bound, "more than"))
            .or_else(|| broken(self.below, |number, bound| number >= bound, "less than"))
    }
}
