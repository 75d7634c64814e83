//! Two observers as one.

use std::sync::Arc;

use super::{Attr, Counter, Gauge, Histogram, Kind, Observer, Resolve, SpanSink, contain, resolve};

/// Slots that only one of both has are taken as they are.
pub(super) fn observer(first: Observer, second: Observer) -> Observer {
    Observer {
        span: pair(first.span, second.span, |first, second| {
            Arc::new(move |name, attrs| {
                // Each contained alone; with neither there is no span.
                let begins = [first.clone(), second.clone()];
                let sinks = begins.each_ref().map(|begin| contain(|| begin(name, attrs)));
                Arc::new(Sinks { sinks, begins }) as Arc<dyn SpanSink>
            })
        }),
        counter: pair(first.counter, second.counter, instruments),
        gauge: pair(first.gauge, second.gauge, instruments),
        histogram: pair(first.histogram, second.histogram, instruments),
        on_event: pair(first.on_event, second.on_event, |first, second| {
            Arc::new(move |event| {
                contain(|| first(event));
                contain(|| second(event));
            })
        }),
    }
}

fn pair<T>(first: Option<T>, second: Option<T>, both: impl FnOnce(T, T) -> T) -> Option<T> {
    match (first, second) {
        (Some(first), Some(second)) => Some(both(first, second)),
        (one, other) => one.or(other),
    }
}

fn instruments<T: Both + Default + 'static>(first: Resolve<T>, second: Resolve<T>) -> Resolve<T> {
    Arc::new(move |name, labels| {
        resolve(Some(&first), name, labels).both(resolve(Some(&second), name, labels))
    })
}

/// An instrument of which two can be one.
trait Both {
    fn both(self, other: Self) -> Self;
}

macro_rules! both {
    ($name:ident, $method:ident) => {
        impl Both for $name {
            fn both(self, other: Self) -> Self {
                match (&self.0, &other.0) {
                    (Kind::Inert, _) => other,
                    (_, Kind::Inert) => self,
                    _ => Self::function(move |value| {
                        self.$method(value);
                        other.$method(value);
                    }),
                }
            }
        }
    };
}

both!(Counter, add);
both!(Gauge, set);
both!(Histogram, observe);

/// One span in two places; one that could not begin is absent.
struct Sinks {
    sinks: [Option<Arc<dyn SpanSink>>; 2],
    /// For spans inside of it, where one does not tell what is inside.
    begins: [Resolve<Arc<dyn SpanSink>>; 2],
}

impl Sinks {
    fn each(&self, call: impl Fn(&dyn SpanSink)) {
        for sink in self.sinks.iter().flatten() {
            contain(|| call(&**sink));
        }
    }
}

impl SpanSink for Sinks {
    fn attr(&self, attr: Attr) {
        self.each(|sink| sink.attr(attr.clone()));
    }

    fn error(&self, error: &str) {
        self.each(|sink| sink.error(error));
    }

    fn end(&self) {
        self.each(|sink| sink.end());
    }

    fn child(&self, name: &'static str, attrs: &[Attr]) -> Option<Arc<dyn SpanSink>> {
        let child = |i: usize| {
            let inside = || self.sinks[i].as_ref().and_then(|sink| sink.child(name, attrs));
            contain(|| inside().unwrap_or_else(|| (self.begins[i])(name, attrs)))
        };
        Some(Arc::new(Self { sinks: [child(0), child(1)], begins: self.begins.clone() }))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};

    use super::*;
    use crate::event::{Event, EventKind, LoopKind};
    use crate::primitive::Mutex;
    use crate::stamp::Stamp;

    type Heard = Arc<Mutex<Vec<String>>>;

    struct Sink(&'static str, Heard);

    impl SpanSink for Sink {
        fn attr(&self, attr: Attr) {
            self.1.lock().push(format!("{}: {attr}", self.0));
        }

        fn error(&self, error: &str) {
            self.1.lock().push(format!("{}: {error}", self.0));
        }

        fn end(&self) {
            self.1.lock().push(format!("{}: end", self.0));
            panic!("at the end");
        }
    }

    /// Hears everything, and panics once it has.
    fn loud(own: &'static str, heard: &Heard) -> Observer {
        let hear = {
            let heard = heard.clone();
            move |what: String| {
                heard.lock().push(format!("{own}: {what}"));
                panic!("having heard it");
            }
        };
        let (counts, sets, observes, events) = (hear.clone(), hear.clone(), hear.clone(), hear);
        let spans = heard.clone();
        Observer {
            span: Some(Arc::new(move |_, _| Arc::new(Sink(own, spans.clone())))),
            counter: Some(Arc::new(move |name, _| {
                let hear = counts.clone();
                Counter::function(move |n| hear(format!("{name} +{n}")))
            })),
            gauge: Some(Arc::new(move |name, _| {
                let hear = sets.clone();
                Gauge::function(move |value| hear(format!("{name} = {value}")))
            })),
            histogram: Some(Arc::new(move |name, _| {
                let hear = observes.clone();
                Histogram::function(move |value| hear(format!("{name} {value}")))
            })),
            on_event: Some(Arc::new(move |event| events(event.to_string()))),
        }
    }

    #[test]
    fn both_hear_everything_although_each_panics() {
        let heard = Heard::default();
        let observer = loud("a", &heard).and(loud("b", &heard));
        observer.counter("c", &[]).add(1);
        observer.gauge("g", &[]).set(2.0);
        observer.histogram("h", &[]).observe(3.0);
        let span = observer.start_span("s", &[]);
        span.set_attr(Attr::new("k", 1_i64));
        span.set_error(&"no");
        span.end();
        let event = Event {
            seq: 1,
            n: 1,
            at: Stamp::from_micros(0),
            source: "x".parse().unwrap(),
            kind: LoopKind::Watcher,
            what: EventKind::Started,
        };
        contain(|| (observer.on_event.as_ref().unwrap())(&event));
        let told = format!("{event}");
        let expected = ["c +1", "g = 2", "h 3", "k=1", "no", "end", &told];
        let expected: Vec<String> =
            expected.iter().flat_map(|what| [format!("a: {what}"), format!("b: {what}")]).collect();
        assert_eq!(*heard.lock(), expected);
    }

    #[test]
    fn a_span_inside_is_begun_in_both_also_where_one_does_not_tell() {
        let heard = Heard::default();
        let observer = loud("a", &heard).and(loud("b", &heard));
        let outer = observer.start_span("outer", &[]);
        let inner = outer.child("inner", &[]);
        inner.set_attr(Attr::new("k", 1_i64));
        inner.end();
        outer.end();
        assert_eq!(*heard.lock(), ["a: k=1", "b: k=1", "a: end", "b: end", "a: end", "b: end"]);
    }

    #[test]
    fn a_slot_that_one_lacks_is_the_others_own() {
        let cell = Arc::new(AtomicU64::new(0));
        let theirs = cell.clone();
        let counts = Observer {
            counter: Some(Arc::new(move |_, _| Counter::atomic(theirs.clone()))),
            ..Observer::default()
        };
        let broken = Observer { counter: Some(Arc::new(|_, _| panic!("resolve"))), ..Observer::default() };
        for observer in [
            counts.clone().and(Observer::default()),
            Observer::default().and(counts.clone()),
            counts.clone().and(broken.clone()),
            broken.and(counts),
        ] {
            observer.counter("c", &[]).add(1);
            observer.gauge("g", &[]).set(1.0);
            assert!(observer.on_event.is_none() && observer.span.is_none());
        }
        assert_eq!(cell.load(Ordering::Relaxed), 4);
        let neither = Observer::default().and(Observer::default());
        assert_eq!(format!("{:?}", neither.counter("c", &[])), "Counter(\"inert\")");
    }
}
