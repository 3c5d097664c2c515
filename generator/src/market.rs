//! A market that wanders: each trade's price is the one before, a little up or down.

/// How far a price moves from trade to trade at most, as a part of itself.
const STEP: f64 = 0.001;
/// Prices stay between these, so that a market that runs for years is still one.
const CENTS: std::ops::RangeInclusive<f64> = 100.0..=10_000_000.0;
const LOTS: u64 = 500;

pub struct Market {
    random: Random,
    symbols: Vec<Symbol>,
}

struct Symbol {
    name: String,
    topic_part: String,
    cents: f64,
}

/// SplitMix64 (Steele, Lea and Flood, 2014): good enough for prices, and the same on every machine.
struct Random(u64);

impl Market {
    pub fn new(symbols: &[String], seed: u64) -> Self {
        let mut random = Random(seed);
        let symbol = |name: &String| Symbol {
            name: name.clone(),
            topic_part: name.replace(':', "%3A"),
            cents: 5_000.0 + 45_000.0 * random.part(),
        };
        let symbols = symbols.iter().map(symbol).collect();
        Self { random, symbols }
    }

    /// One trade of each symbol, each as a line for the daemon.
    pub fn round(&mut self, stream: &str, unix_millis: u128) -> Vec<String> {
        let Self { random, symbols } = self;
        let line = |symbol: &mut Symbol| {
            let moved = symbol.cents * (1.0 + STEP * (2.0 * random.part() - 1.0));
            symbol.cents = moved.clamp(*CENTS.start(), *CENTS.end());
            let Symbol { name, topic_part, cents } = symbol;
            let (price, size) = (cents.round() / 100.0, 1 + random.next() % LOTS);
            format!(
                "{{\"stream\":\"{stream}\",\"topic\":\"{stream}:{topic_part}\",\"type\":\"tick\",\
                 \"data\":{{\"symbol\":\"{name}\",\"time\":{unix_millis},\"price\":{price},\"size\":{size}}}}}\n"
            )
        };
        symbols.iter_mut().map(line).collect()
    }
}

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// From 0 to below 1.
    fn part(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1u64 << 53) as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn market(seed: u64) -> Market {
        Market::new(&["AAPL".to_owned(), "B:C".to_owned()], seed)
    }

    #[test]
    fn a_trade_is_a_line_with_its_topic() {
        let lines = market(1).round("ticks", 1_697_097_600_000);
        let start = r#"{"stream":"ticks","topic":"ticks:B%3AC","type":"tick","data":{"symbol":"B:C","time":1697097600000,"price":"#;
        assert!(lines[1].starts_with(start) && lines[1].ends_with("}}\n"), "{}", lines[1]);
    }

    #[test]
    fn the_same_seed_makes_the_same_market() {
        let rounds = |seed| {
            let mut market = market(seed);
            [market.round("t", 1), market.round("t", 2)]
        };
        assert_eq!(rounds(7), rounds(7));
        assert_ne!(rounds(7), rounds(8));
        // The first numbers of the published generator.
        assert_eq!([Random(1234567).next(), Random(0).next()], [6_457_827_717_110_365_317, 0xe220_a839_7b1d_cdaf]);
    }

    #[test]
    fn prices_wander_by_small_steps_and_stay_in_bounds() {
        let mut market = market(3);
        let mut before = market.symbols[0].cents;
        let first = before;
        for time in 0..10_000 {
            market.round("t", time);
            let now = market.symbols[0].cents;
            assert!((now - before).abs() <= before * STEP * 1.001 && CENTS.contains(&now));
            before = now;
        }
        assert!(before != first);
        market.symbols[0].cents = 1.0;
        market.round("t", 0);
        assert_eq!(market.symbols[0].cents, *CENTS.start());
    }
}
