//! Metrics of a program's own, beside those of the library, as the text that a
//! Prometheus server reads: `cargo run --features full --example metrics`.
//! With `prometheus` as argument, in the older form.

#![allow(clippy::print_stdout, reason = "an example speaks to its reader")]

use std::time::Duration;

use loopkeeper::observe::prometheus::{Collect, Exporter, ExporterConfig, Metric, Samples};
use loopkeeper::observe::{Attr, MetricsFormat};
use loopkeeper::{BoxError, Context, Env, EnvConfig, Observer, Watcher, WatcherConfig};

/// Orders that wait: looked up only when somebody asks.
struct Queue(Vec<&'static str>);

impl Collect for Queue {
    fn collect(&self, samples: &mut Samples) {
        samples.gauge("queue_length", &[], self.0.len() as f64);
    }
}

fn main() -> Result<(), BoxError> {
    let exporter = Exporter::new(
        ExporterConfig::default()
            .prefix("shop")
            .describe(Metric::new("orders_total").help("Orders taken, by customer").max_series(5))
            .describe(Metric::new("order_value_bytes").help("Size of an order").buckets([100.0, 1000.0]))
            .describe(Metric::new("queue_length").help("Orders that wait")),
    )?;
    // A bad name is an error here, and a counter that counts nothing there.
    assert!(exporter.counter("orders per day", &[]).is_err());

    let env = Env::with(EnvConfig::default().observer(Observer::log().and(exporter.observer())))?;
    let watcher = Watcher::start_in(&env, WatcherConfig::new("stock", |_: &Context| Ok(())))?;
    let _ = watcher.wait_ready(Duration::from_secs(5));

    // Customers choose their names, and there may be many.
    let customers =
        ["Ann", "O\"Neil", "back\\slash", "two\nlines", "} 1\n# EOF\n", "Zoë 漢字", "Bob", "Carl"];
    for customer in customers {
        let orders = env.observer().counter("orders_total", &[Attr::new("customer", customer)]);
        orders.add(1);
    }
    let values = env.observer().histogram("order_value_bytes", &[]);
    for bytes in [80.0, 700.0, 5000.0] {
        values.observe(bytes);
    }

    let format = match std::env::args().nth(1).as_deref() {
        Some("prometheus") => MetricsFormat::Prometheus,
        _ => MetricsFormat::OpenMetrics,
    };
    let exporter = exporter.collecting(env.clone()).collecting(Queue(vec!["first", "second"]));
    print!("{}", exporter.render(format)?);
    let report = watcher.stop(Duration::from_secs(1));
    if report.is_clean() { Ok(()) } else { Err(report.to_string().into()) }
}
