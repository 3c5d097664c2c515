//! A slab in pages: what lies in it never moves, so that nobody waits while thousands are copied because one more came, and a
//! page that all have left is given back.

use std::ops::{Index, IndexMut};

use slab::Slab;

/// The most that a page has: some hundred connections, of which few pages are enough for all, and little is left unused.
const PAGE_BYTES: usize = 128 * 1024;

#[derive(Debug)]
pub struct Pages<T> {
    /// Each has room for all of its items from the start, or none as long as it has no items.
    pages: Vec<Slab<T>>,
    /// Those before it are full.
    first_with_room: usize,
    /// The one page without items that keeps its room, so that a single one who comes and goes costs nothing.
    spare: Option<usize>,
    len: usize,
}

impl<T> Pages<T> {
    /// Items of a page. A power of two, so that a key is divided by a shift.
    const LENGTH: usize = 1 << (PAGE_BYTES / size_of::<T>()).ilog2();

    pub fn len(&self) -> usize {
        self.len
    }

    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    pub fn get(&self, key: usize) -> Option<&T> {
        self.pages.get(key / Self::LENGTH)?.get(key % Self::LENGTH)
    }

    pub fn get_mut(&mut self, key: usize) -> Option<&mut T> {
        self.pages.get_mut(key / Self::LENGTH)?.get_mut(key % Self::LENGTH)
    }

    pub fn iter(&self) -> impl Iterator<Item = (usize, &T)> {
        let pages = self.pages.iter().enumerate();
        pages.flat_map(|(page, items)| items.iter().map(move |(at, item)| (page * Self::LENGTH + at, item)))
    }

    pub fn iter_mut(&mut self) -> impl Iterator<Item = (usize, &mut T)> {
        let pages = self.pages.iter_mut().enumerate();
        pages.flat_map(|(page, items)| items.iter_mut().map(move |(at, item)| (page * Self::LENGTH + at, item)))
    }

    /// Takes an item in, as far in front as there is room, and returns its key.
    pub fn insert(&mut self, item: T) -> usize {
        let is_full = |page: &Slab<T>| page.len() == Self::LENGTH;
        while self.pages.get(self.first_with_room).is_some_and(is_full) {
            self.first_with_room += 1;
        }
        let page = self.first_with_room;
        if page == self.pages.len() {
            self.pages.push(Slab::new());
        }
        let items = &mut self.pages[page];
        if items.is_empty() {
            items.reserve(Self::LENGTH);
            self.spare = self.spare.filter(|spare| *spare != page);
        }
        self.len += 1;
        page * Self::LENGTH + items.insert(item)
    }

    /// Gives an item back.
    ///
    /// # Panics
    /// If there is none of this key.
    pub fn remove(&mut self, key: usize) -> T {
        let page = key / Self::LENGTH;
        let item = self.pages[page].remove(key % Self::LENGTH);
        self.len -= 1;
        self.first_with_room = self.first_with_room.min(page);
        if self.pages[page].is_empty() {
            let kept = self.spare.map_or(page, |spare| spare.min(page));
            if let Some(spare) = self.spare.replace(kept) {
                self.pages[spare.max(page)] = Slab::new();
            }
        }
        item
    }
}

impl<T> Default for Pages<T> {
    fn default() -> Self {
        Self { pages: Vec::new(), first_with_room: 0, spare: None, len: 0 }
    }
}

impl<T> Index<usize> for Pages<T> {
    type Output = T;

    fn index(&self, key: usize) -> &T {
        &self.pages[key / Self::LENGTH][key % Self::LENGTH]
    }
}

impl<T> IndexMut<usize> for Pages<T> {
    fn index_mut(&mut self, key: usize) -> &mut T {
        &mut self.pages[key / Self::LENGTH][key % Self::LENGTH]
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;

    /// Few to a page.
    type Item = [u64; 4096];

    fn item(number: u64) -> Item {
        [number; 4096]
    }

    /// The same done to it and to what it stands for.
    #[test]
    fn it_does_what_a_table_does() {
        let seed = std::env::var("SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or_else(|| fastrand::u64(..));
        println!("SEED={seed}");
        let mut random = fastrand::Rng::with_seed(seed);
        let (mut pages, mut model) = (Pages::default(), HashMap::new());
        for number in 0..20_000 {
            // Tides, so that pages fill and empty.
            let rises = number / 500 % 2 == 0;
            if random.u8(..10) < if rises { 7 } else { 3 } {
                let key = pages.insert(item(number));
                assert_eq!(model.insert(key, number), None, "{key} is taken");
            } else if let Some(key) = random.choice(model.keys().copied()) {
                assert_eq!(Some(pages.remove(key)[0]), model.remove(&key));
            }
            let key = random.usize(..40);
            assert_eq!(pages.get(key).map(|item| item[0]), model.get(&key).copied());
            if let Some(item) = pages.get_mut(key) {
                item[0] += 1;
                model.entry(key).and_modify(|number| *number += 1);
                assert_eq!(pages[key][0], model[&key]);
            }
            assert_eq!((pages.len(), pages.is_empty()), (model.len(), model.is_empty()));
            assert_eq!(pages.iter().map(|(key, item)| (key, item[0])).collect::<HashMap<_, _>>(), model);
            let room = pages.pages.iter().filter(|page| page.is_empty() && page.capacity() > 0).count();
            assert_eq!(room, usize::from(pages.spare.is_some()), "at most one page keeps room for nobody");
        }
        pages.iter_mut().for_each(|(key, item)| item[0] = key as u64);
        assert!(pages.iter().all(|(key, item)| item[0] == key as u64));
    }

    #[test]
    fn nothing_moves_and_who_comes_sits_in_front() {
        let mut pages = Pages::default();
        let first = pages.insert(item(0));
        let address = &raw const pages[first];
        let length = Pages::<Item>::LENGTH;
        (1..3 * length).for_each(|number| _ = pages.insert(item(number as u64)));
        assert_eq!(&raw const pages[first], address);
        pages.remove(2 * length);
        pages.remove(1);
        assert_eq!((pages.insert(item(7)), pages.insert(item(8)), pages.insert(item(9))), (1, 2 * length, 3 * length));
    }

    #[test]
    fn a_key_that_nobody_has_is_none() {
        let mut pages = Pages::<Item>::default();
        assert!(pages.get(0).is_none() && pages.get_mut(usize::MAX).is_none());
        let key = pages.insert(item(1));
        pages.remove(key);
        assert!(pages.get(key).is_none() && pages.is_empty());
    }
}
