//! The pairing helper: both sides of a comparison alternate in one run, so
//! that a machine that slows down slows both, and what is printed is a ratio.
//!
//! One line a promise:
//!
//! ```text
//! start of 1,000                     1.02 x  bound 1.10  ok      (ours 31.2 us/loop, floor 30.6)
//! ```
//!
//! The ratio is the median of the rounds' own ratios. Bounds are judged on a
//! quiet machine by one who asks for it with `--strict`; without it a broken
//! bound is printed and the run still succeeds.

#[cfg(feature = "capi")]
pub(crate) mod capi;
pub(crate) mod child;
#[cfg(feature = "sqlite")]
pub(crate) mod fleet;
#[cfg(all(feature = "postgres", feature = "sqlite"))]
pub(crate) mod fleet_server;
pub(crate) mod floors;
pub(crate) mod measure;
#[cfg(feature = "prometheus")]
pub(crate) mod metrics;
pub(crate) mod ours;
pub(crate) mod parts;
#[cfg(feature = "http-client")]
pub(crate) mod polls;
#[cfg(feature = "http")]
pub(crate) mod status;

use std::fmt;
use std::process::ExitCode;

/// What a line promises.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Bound {
    /// Ours divided by the floor is at most this.
    Ratio(f64),
    /// Ours is at most this, in the row's unit.
    Ours(f64),
    /// Ours is at least this, in the row's unit.
    AtLeast(f64),
    /// Nothing: the numbers are there to be read.
    Shown,
}

/// One line: what is compared, in which unit, and how far ours may be off.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Row {
    name: &'static str,
    unit: &'static str,
    bound: Bound,
}

/// A row; `name` is what the name filter looks in.
pub(crate) const fn row(name: &'static str, unit: &'static str, bound: Bound) -> Row {
    Row { name, unit, bound }
}

/// How often both sides run.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rounds {
    /// In a full run.
    pub(crate) full: usize,
    /// With `--quick`.
    pub(crate) quick: usize,
}

/// One side: each call measures once and answers one number a row.
pub(crate) type Side<'a, const N: usize> = Box<dyn FnMut() -> [f64; N] + 'a>;

/// The command line, and the bounds that broke.
#[derive(Debug, Default)]
pub(crate) struct Suite {
    quick: bool,
    strict: bool,
    filter: Option<String>,
    lines: usize,
    missing: usize,
    broken: Vec<&'static str>,
}

impl Suite {
    /// Reads `[--quick] [--strict] [NAME]`.
    pub(crate) fn from_args(args: impl Iterator<Item = String>) -> Result<Self, String> {
        let mut suite = Self::default();
        for arg in args {
            match arg.as_str() {
                "--quick" => suite.quick = true,
                "--strict" => suite.strict = true,
                // Cargo says it to every bench.
                "--bench" => {}
                flag if flag.starts_with('-') => return Err(format!("no such option: {flag}")),
                name => suite.filter = Some(name.to_owned()),
            }
        }
        Ok(suite)
    }

    /// `full`, or `quick` with `--quick`: for counts and times inside a side.
    pub(crate) fn pick<T>(&self, full: T, quick: T) -> T {
        if self.quick { quick } else { full }
    }

    /// Whether one of these rows is asked for: for what is costly to set up.
    pub(crate) fn wants(&self, rows: &[Row]) -> bool {
        rows.iter().any(|row| self.filter.as_ref().is_none_or(|filter| row.name.contains(&**filter)))
    }

    /// Runs both sides in turn and prints a line for each row.
    ///
    /// Without a side of ours only the floor runs, and the line says so.
    pub(crate) fn compare<const N: usize>(
        &mut self,
        rows: [Row; N],
        rounds: Rounds,
        mut ours: Option<Side<'_, N>>,
        mut floor: Side<'_, N>,
    ) {
        if !self.wants(&rows) {
            return;
        }
        let mut ours_seen = [const { Vec::new() }; N];
        let mut floor_seen = [const { Vec::new() }; N];
        for _ in 0..self.pick(rounds.full, rounds.quick) {
            if let Some(ours) = &mut ours {
                for (seen, value) in ours_seen.iter_mut().zip(ours()) {
                    seen.push(value);
                }
            }
            for (seen, value) in floor_seen.iter_mut().zip(floor()) {
                seen.push(value);
            }
        }
        for ((row, ours), floor) in rows.iter().zip(&ours_seen).zip(&floor_seen) {
            if ours.is_empty() {
                self.print_floor(row, floor);
            } else {
                self.print_pair(row, ours, floor);
            }
        }
    }

    fn print_floor(&mut self, row: &Row, floor: &[f64]) {
        self.lines += 1;
        self.missing += 1;
        let floor = Number(measure::median(floor));
        println!("{:<34}     -     {}  not there yet (floor {floor} {})", row.name, row.bound, row.unit);
    }

    fn print_pair(&mut self, row: &Row, ours: &[f64], floor: &[f64]) {
        self.lines += 1;
        let ratios: Vec<f64> = ours.iter().zip(floor).map(|(ours, floor)| ratio(*ours, *floor)).collect();
        let ratio = measure::median(&ratios);
        let (ours, floor) = (measure::median(ours), measure::median(floor));
        let kept = match row.bound {
            Bound::Ratio(bound) => ratio <= bound,
            Bound::Ours(bound) => ours <= bound,
            Bound::AtLeast(bound) => ours >= bound,
            Bound::Shown => true,
        };
        if !kept {
            self.broken.push(row.name);
        }
        println!(
            "{:<34} {ratio:>7.2} x  {}  {:<7} (ours {} {}, floor {})",
            row.name,
            row.bound,
            if kept { "ok" } else { "BROKEN" },
            Number(ours),
            row.unit,
            Number(floor),
        );
    }

    /// The last line, and what the run ends with.
    pub(crate) fn finish(self) -> ExitCode {
        if self.lines == 0 {
            eprintln!("nothing has {:?} in its name", self.filter.unwrap_or_default());
            return ExitCode::from(2);
        }
        println!("{} lines, {} bounds broken, {} not there yet", self.lines, self.broken.len(), self.missing);
        if self.strict && !self.broken.is_empty() {
            eprintln!("broken: {}", self.broken.join("; "));
            return ExitCode::FAILURE;
        }
        ExitCode::SUCCESS
    }
}

/// Ours by the floor; nothing by nothing is as good as the floor.
fn ratio(ours: f64, floor: f64) -> f64 {
    if ours == 0.0 && floor == 0.0 { 1.0 } else { ours / floor }
}

impl fmt::Display for Bound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ratio(bound) => write!(f, "bound {bound:<8.2}"),
            Self::Ours(bound) => write!(f, "ours <= {bound:<6}"),
            Self::AtLeast(bound) => write!(f, "ours >= {bound:<6}"),
            Self::Shown => write!(f, "{:<14}", "no bound"),
        }
    }
}

/// Three digits are all that a run is good for.
struct Number(f64);

impl fmt::Display for Number {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            0.0 => write!(f, "0"),
            value if value < 10.0 => write!(f, "{value:.2}"),
            value if value < 100.0 => write!(f, "{value:.1}"),
            value => write!(f, "{value:.0}"),
        }
    }
}
