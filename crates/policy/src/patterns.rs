//! Lists of patterns, and an index from patterns to whatever stands behind them.

use std::collections::{HashMap, HashSet};
use std::hash::Hash;

use crate::glob::{Glob, Pattern};

/// The names that a rule lists under one kind.
#[derive(Clone, Debug, Default)]
pub(crate) struct Patterns {
    all: Box<[Pattern]>,
    /// Only for a list so long that hashing a name beats comparing it.
    hashed: Option<Hashed>,
}

#[derive(Clone, Debug, Default)]
struct Hashed {
    exact: HashSet<Box<str>>,
    globs: Vec<Glob>,
}

impl Patterns {
    pub(crate) fn matches(&self, name: &str) -> bool {
        match &self.hashed {
            Some(Hashed { exact, globs }) => exact.contains(name) || globs.iter().any(|glob| glob.matches(name)),
            None => self.iter().any(|pattern| pattern.matches(name)),
        }
    }

    /// The first pattern, in the order of the file, that matches.
    pub(crate) fn first_match(&self, name: &str) -> Option<&Pattern> {
        self.all.iter().find(|pattern| pattern.matches(name))
    }

    /// As written, in order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Pattern> {
        self.all.iter()
    }

    /// Whether everything that `other` matches is surely matched here.
    pub(crate) fn covers(&self, other: &Self) -> bool {
        other.iter().all(|pattern| match pattern {
            Pattern::Exact(name) => self.matches(name),
            Pattern::Glob(_) => self.iter().any(|ours| ours.covers(pattern)),
        })
    }
}

impl FromIterator<Pattern> for Patterns {
    fn from_iter<I: IntoIterator<Item = Pattern>>(patterns: I) -> Self {
        let all: Box<[Pattern]> = patterns.into_iter().collect();
        let hashed = (all.len() > SHORT).then(|| Hashed::new(&all));
        Self { all, hashed }
    }
}

impl Hashed {
    fn new(all: &[Pattern]) -> Self {
        let mut hashed = Self::default();
        for pattern in all {
            match pattern {
                Pattern::Exact(name) => drop(hashed.exact.insert(name.clone())),
                Pattern::Glob(glob) => hashed.globs.push(glob.clone()),
            }
        }
        hashed
    }
}

const SHORT: usize = 8;

/// From patterns to values, so that a look-up costs what the matching patterns cost, not what all patterns cost.
///
/// Exact names and the literal beginnings (else endings) of globs are hashed; a name is looked up once for each *length*
/// that such a part has.
#[derive(Clone, Debug)]
pub(crate) struct PatternIndex<T> {
    exact: HashMap<Box<str>, Vec<T>>,
    by_prefix: Affixes<T>,
    by_suffix: Affixes<T>,
    /// Globs that begin and end with a star.
    open: Vec<(Glob, Vec<T>)>,
}

#[derive(Clone, Debug)]
struct Affixes<T> {
    lengths: Vec<usize>,
    globs: HashMap<Box<str>, Vec<(Glob, Vec<T>)>>,
}

impl<T> Default for PatternIndex<T> {
    fn default() -> Self {
        Self { exact: HashMap::new(), by_prefix: Affixes::default(), by_suffix: Affixes::default(), open: Vec::new() }
    }
}

impl<T> Default for Affixes<T> {
    fn default() -> Self {
        Self { lengths: Vec::new(), globs: HashMap::new() }
    }
}

impl<T: Copy + Eq + Hash> PatternIndex<T> {
    /// Builds it; a pattern that stands there twice keeps both values.
    pub(crate) fn new(entries: impl IntoIterator<Item = (Pattern, T)>) -> Self {
        let mut index = Self::default();
        let mut globs: HashMap<Glob, Vec<T>> = HashMap::new();
        for (pattern, value) in entries {
            match pattern {
                Pattern::Exact(name) => push_new(index.exact.entry(name).or_default(), value),
                Pattern::Glob(glob) => push_new(globs.entry(glob).or_default(), value),
            }
        }
        for (glob, values) in globs {
            index.insert_glob(glob, values);
        }
        index
    }

    fn insert_glob(&mut self, glob: Glob, values: Vec<T>) {
        if !glob.prefix().is_empty() {
            self.by_prefix.insert(glob.prefix().into(), glob, values);
        } else if !glob.suffix().is_empty() {
            self.by_suffix.insert(glob.suffix().into(), glob, values);
        } else {
            self.open.push((glob, values));
        }
    }

    /// Hands each value whose pattern matches to `take`; a value may come more than once.
    pub(crate) fn look_up(&self, name: &str, mut take: impl FnMut(T)) {
        let exact = self.exact.get(name).into_iter().flatten();
        let open = self.open.iter().filter(|(glob, _)| glob.matches(name)).flat_map(|(_, values)| values);
        exact.chain(open).copied().for_each(&mut take);
        self.by_prefix.look_up(name, |length| name.get(..length), &mut take);
        self.by_suffix.look_up(name, |length| name.get(name.len() - length..), &mut take);
    }
}

/// One value is pushed many times in a row at most (a list that names something twice).
fn push_new<T: Eq>(values: &mut Vec<T>, value: T) {
    if values.last() != Some(&value) {
        values.push(value);
    }
}

impl<T: Copy> Affixes<T> {
    fn insert(&mut self, affix: Box<str>, glob: Glob, values: Vec<T>) {
        if let Err(at) = self.lengths.binary_search(&affix.len()) {
            self.lengths.insert(at, affix.len());
        }
        self.globs.entry(affix).or_default().push((glob, values));
    }

    fn look_up<'n>(&self, name: &str, affix: impl Fn(usize) -> Option<&'n str>, take: &mut impl FnMut(T)) {
        let lengths = self.lengths.iter().take_while(|&&length| length <= name.len());
        let candidates = lengths.filter_map(|&length| self.globs.get(affix(length)?)).flatten();
        for (_, values) in candidates.filter(|(glob, _)| glob.matches(name)) {
            values.iter().copied().for_each(&mut *take);
        }
    }
}
