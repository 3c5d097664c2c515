//! A slab in pages: what lies in it never moves, so that nobody waits while thousands are copied because one more came, and a
//! page that all have left is given back.

use std::ops::{Index, IndexMut};

/// Items of a page: of connections, about a hundred kilobytes. A power of two, so that a key is divided by a shift.
const LENGTH: usize = 128;

#[derive(Debug)]
pub struct Slabs<T> {
    /// None where all have left.
    pages: Vec<Option<Page<T>>>,
    /// Those before it are full.
    first_with_room: usize,
    /// The one page without items that is kept, so that a single one who comes and goes costs nothing.
    spare: Option<usize>,
    len: usize,
}

#[derive(Debug)]
struct Page<T> {
    items: Box<[Option<T>; LENGTH]>,
    /// Where nothing lies, the next to be taken last.
    free: Vec<usize>,
}

impl<T> Slabs<T> {
    pub fn len(&self) -> usize {
        self.len
    }

    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    pub fn get(&self, key: usize) -> Option<&T> {
        self.pages.get(key / LENGTH)?.as_ref()?.items[key % LENGTH].as_ref()
    }

    pub fn get_mut(&mut self, key: usize) -> Option<&mut T> {
        self.pages.get_mut(key / LENGTH)?.as_mut()?.items[key % LENGTH].as_mut()
    }

    pub fn iter(&self) -> impl Iterator<Item = (usize, &T)> {
        let pages = self.pages.iter().enumerate().filter_map(|(at, page)| Some((at, page.as_ref()?)));
        let items = pages.flat_map(|(at, page)| (at * LENGTH..).zip(page.items.iter()));
        items.filter_map(|(key, item)| Some((key, item.as_ref()?)))
    }

    pub fn iter_mut(&mut self) -> impl Iterator<Item = (usize, &mut T)> {
        let pages = self.pages.iter_mut().enumerate().filter_map(|(at, page)| Some((at, page.as_mut()?)));
        let items = pages.flat_map(|(at, page)| (at * LENGTH..).zip(page.items.iter_mut()));
        items.filter_map(|(key, item)| Some((key, item.as_mut()?)))
    }

    /// Takes an item in, on the first page that has room, and returns its key.
    pub fn insert(&mut self, item: T) -> usize {
        let is_full = |page: &Option<Page<T>>| page.as_ref().is_some_and(|page| page.free.is_empty());
        while self.pages.get(self.first_with_room).is_some_and(is_full) {
            self.first_with_room += 1;
        }
        let at = self.first_with_room;
        if at == self.pages.len() {
            self.pages.push(None);
        }
        let page = self.pages[at].get_or_insert_default();
        let place = page.free.pop().expect("a page that is not full has a place");
        page.items[place] = Some(item);
        self.spare = self.spare.filter(|spare| *spare != at);
        self.len += 1;
        at * LENGTH + place
    }

    /// Gives an item back.
    ///
    /// # Panics
    /// If nothing has this key.
    pub fn remove(&mut self, key: usize) -> T {
        let (at, place) = (key / LENGTH, key % LENGTH);
        let page = self.pages.get_mut(at).and_then(Option::as_mut);
        let removed = page.and_then(|page| {
            let item = page.items[place].take()?;
            page.free.push(place);
            Some((item, page.free.len() == LENGTH))
        });
        let Some((item, is_empty)) = removed else { panic!("nothing has the key {key}") };
        self.len -= 1;
        self.first_with_room = self.first_with_room.min(at);
        if is_empty {
            let kept = self.spare.map_or(at, |spare| spare.min(at));
            if let Some(spare) = self.spare.replace(kept) {
                self.pages[spare.max(at)] = None;
            }
        }
        item
    }
}

impl<T> Default for Slabs<T> {
    fn default() -> Self {
        Self { pages: Vec::new(), first_with_room: 0, spare: None, len: 0 }
    }
}

impl<T> Default for Page<T> {
    fn default() -> Self {
        // Made where it stays: an array would be written to the stack first, and copied.
        let items: Box<[Option<T>]> = (0..LENGTH).map(|_| None).collect();
        Self { items: items.try_into().ok().expect("as many as a page has"), free: (0..LENGTH).rev().collect() }
    }
}

impl<T> Index<usize> for Slabs<T> {
    type Output = T;

    fn index(&self, key: usize) -> &T {
        self.get(key).unwrap_or_else(|| panic!("nothing has the key {key}"))
    }
}

impl<T> IndexMut<usize> for Slabs<T> {
    fn index_mut(&mut self, key: usize) -> &mut T {
        self.get_mut(key).unwrap_or_else(|| panic!("nothing has the key {key}"))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    /// The same done to it and to what it stands for.
    #[test]
    fn it_does_what_a_table_does() {
        let seed = std::env::var("SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or_else(|| fastrand::u64(..));
        println!("SEED={seed}");
        let mut random = fastrand::Rng::with_seed(seed);
        let (mut slabs, mut model) = (Slabs::default(), BTreeMap::new());
        for number in 0..20_000_u64 {
            // Tides, so that pages fill and empty.
            let rises = number / 2000 % 2 == 0;
            if random.u8(..10) < if rises { 7 } else { 3 } {
                let first = (0..).find(|page| model.range(page * LENGTH..(page + 1) * LENGTH).count() < LENGTH);
                let key = slabs.insert(number);
                assert_eq!(Some(key / LENGTH), first, "as far in front as there is room");
                assert_eq!(model.insert(key, number), None, "{key} is taken");
            } else if let Some(key) = random.choice(model.keys().copied()) {
                assert_eq!(Some(slabs.remove(key)), model.remove(&key));
            }
            let key = random.usize(..8 * LENGTH);
            assert_eq!(slabs.get(key), model.get(&key));
            if let Some(item) = slabs.get_mut(key) {
                *item += 1;
                model.entry(key).and_modify(|number| *number += 1);
                assert_eq!(slabs[key], model[&key]);
            }
            assert_eq!((slabs.len(), slabs.is_empty()), (model.len(), model.is_empty()));
            assert!(slabs.iter().eq(model.iter().map(|(key, number)| (*key, number))), "{key}");
            let empty = |page: &&Option<Page<u64>>| page.as_ref().is_some_and(|page| page.free.len() == LENGTH);
            let empty = slabs.pages.iter().filter(empty).count();
            assert_eq!(empty, usize::from(slabs.spare.is_some()), "at most one page is kept for nobody");
        }
        slabs.iter_mut().for_each(|(key, item)| *item = key as u64);
        assert!(slabs.iter().all(|(key, item)| *item == key as u64));
    }

    #[test]
    fn nothing_moves_and_whoever_comes_takes_the_first_place() {
        let mut slabs = Slabs::default();
        let first = slabs.insert(0);
        let address = &raw const slabs[first];
        (1..3 * LENGTH).for_each(|number| _ = slabs.insert(number));
        assert_eq!(&raw const slabs[first], address);
        slabs.remove(2 * LENGTH);
        slabs.remove(1);
        assert_eq!((slabs.insert(7), slabs.insert(8), slabs.insert(9)), (1, 2 * LENGTH, 3 * LENGTH));
    }

    #[test]
    fn a_key_that_nobody_has_is_none() {
        let mut slabs = Slabs::default();
        assert!(slabs.get(0).is_none() && slabs.get_mut(usize::MAX).is_none());
        let key = slabs.insert(1);
        slabs.remove(key);
        assert!(slabs.get(key).is_none() && slabs.is_empty());
    }

    #[test]
    #[should_panic(expected = "nothing has the key 1")]
    fn what_is_not_there_cannot_be_given_back() {
        let mut slabs = Slabs::default();
        slabs.insert(0);
        slabs.remove(1);
    }
}
