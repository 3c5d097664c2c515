//! Made-up trades that look like a market: prices wander inside a band that drifts, sizes are whole numbers.

use std::collections::HashMap;

use fastrand::Rng;

use crate::tick::Tick;

/// Trades per symbol and step, so that a bar has a body and wicks from its first update on.
const TRADES: std::ops::RangeInclusive<usize> = 3..=8;

/// Half the width of the band, as a part of its middle.
const BAND: f64 = 0.004;

/// How far the middle may move in a step, as a part of itself.
const DRIFT: f64 = 0.0005;

/// How far a price may move from trade to trade, as a part of the middle.
const STEP: f64 = 0.0015;

const FIRST_PRICE: std::ops::RangeInclusive<u32> = 5_000..=50_000;
const LOT: std::ops::RangeInclusive<u32> = 1..=500;

#[derive(Debug)]
pub struct Mock {
    random: Rng,
    markets: Vec<Market>,
}

#[derive(Debug)]
struct Market {
    symbol: String,
    middle: f64,
    price: f64,
}

impl Mock {
    /// The same `random` makes the same market.
    pub fn new(symbols: Vec<String>, mut random: Rng) -> Self {
        let market = |symbol| {
            let price = f64::from(random.u32(FIRST_PRICE)) / 100.0;
            Market { symbol, middle: price, price }
        };
        let markets = symbols.into_iter().map(market).collect();
        Self { random, markets }
    }

    /// Goes on from known prices.
    pub fn go_on(&mut self, prices: &HashMap<String, f64>) {
        for market in &mut self.markets {
            if let Some(price) = prices.get(&market.symbol) {
                (market.middle, market.price) = (*price, *price);
            }
        }
    }

    /// The trades of one step of the interval; all happen `now`, so that none is ever late.
    pub fn trades(&mut self, now: i64) -> Vec<Tick<'_>> {
        let mut trades = Vec::new();
        for Market { symbol, middle, price } in &mut self.markets {
            drift(middle, &mut self.random);
            for _ in 0..self.random.usize(TRADES) {
                wander(price, *middle, &mut self.random);
                let size = f64::from(self.random.u32(LOT) * 10);
                trades.push(Tick { symbol: symbol.as_str().into(), time: now, price: cents(*price), size, id: None });
            }
        }
        trades
    }
}

fn drift(middle: &mut f64, random: &mut Rng) {
    // A market that falls without end would reach zero; one dollar is low enough.
    *middle = (*middle * (1.0 + DRIFT * swing(random))).max(1.0);
}

fn wander(price: &mut f64, middle: f64, random: &mut Rng) {
    let (low, high) = (middle * (1.0 - BAND), middle * (1.0 + BAND));
    *price = (*price + middle * STEP * swing(random)).clamp(low, high);
}

fn cents(price: f64) -> f64 {
    (price * 100.0).round() / 100.0
}

/// From -1 to 1.
fn swing(random: &mut Rng) -> f64 {
    random.f64() * 2.0 - 1.0
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::feed::Feed;
    use crate::settings::Settings;

    #[test]
    fn mock_bars_are_bars_of_a_market() {
        let seed = 7;
        let mut mock = Mock::new(vec!["AAPL".into(), "MSFT".into()], Rng::with_seed(seed));
        let settings = Settings { resolutions: vec!["1".into(), "5".into()], ..Settings::default() };
        let mut feed = Feed::new(settings.check().unwrap().feed);
        let mut out = Vec::new();
        for now in (0..600_000).step_by(2_000) {
            feed.advance(now, &mut out);
            for trade in mock.trades(now) {
                assert_eq!(feed.tick(&trade, now, &mut out), Ok(()));
            }
        }
        feed.flush(&mut out);
        assert_eq!((feed.counts().too_late, feed.counts().amended), (0, 0));
        let closed: Vec<_> = out.iter().filter(|update| feed.payload(update).is_final).collect();
        assert_eq!(closed.len(), 2 * (10 + 2), "ten minutes of two symbols");
        for update in closed {
            let bar = update.bar;
            assert_eq!(bar.broken_rule(), None);
            assert!(bar.low < bar.open.min(bar.close) || bar.high > bar.open.max(bar.close), "wicks: {bar:?}");
            assert!(bar.high < bar.low * 1.05, "a band, not a leap: {bar:?}");
            assert!(bar.volume.fract() == 0.0 && bar.volume > 0.0);
            assert_eq!(cents(bar.close), bar.close);
        }
    }

    #[test]
    fn the_same_seed_makes_the_same_market() {
        let trades = |seed| {
            let mut mock = Mock::new(vec!["A".into()], Rng::with_seed(seed));
            (0..50)
                .flat_map(|now| mock.trades(now).iter().map(|t| (t.price, t.size)).collect::<Vec<_>>())
                .collect::<Vec<_>>()
        };
        assert_eq!(trades(1), trades(1));
        assert_ne!(trades(1), trades(2));
    }

    #[test]
    fn a_falling_market_never_reaches_zero() {
        for seed in 0..8 {
            let mut mock = Mock::new(vec!["A".into()], Rng::with_seed(seed));
            (mock.markets[0].middle, mock.markets[0].price) = (1.0, 1.0);
            assert!((0..2_000).all(|now| mock.trades(now).iter().all(|trade| trade.price >= 0.99)), "seed {seed}");
        }
    }
}
