//! What conditions mean, and what is said of those that are none.

use std::time::Duration;

use proptest::prelude::*;

use super::syntax::{Check, Expr, Literal, Number, Op, Subject};
use super::{Condition, Facts, FileFacts, Outcome};
use crate::pointer::Pointer;

fn facts() -> Facts {
    let body = r#"{"queue": {"depth": 12, "a b": 1}, "state": "ok", "on": true, "off": null, "big": 9007199254740993,
        "items": ["a", 2, {"x": 1}], "pi": 3.5, "": 7}"#;
    Facts::new()
        .latency(Duration::from_micros(732_456))
        .status(200)
        .header("Content-Type", "application/json")
        .body(body)
        .file("/backup", Some(FileFacts { age: Duration::from_secs(5_400), size: 3 << 20 }))
        .file("/with (parens)", Some(FileFacts { age: Duration::ZERO, size: 0 }))
        .file("/gone", None)
        .no_file("/closed", "permission denied")
}

fn outcome(text: &str, facts: &Facts) -> Outcome {
    let condition = Condition::parse(text).unwrap_or_else(|error| panic!("{error}\n{}", error.excerpt()));
    condition.evaluate(facts)
}

#[test]
fn conditions_hold() {
    for text in [
        "latency < 1s",
        "latency<1s",
        "latency >= 732ms and latency <= 733ms",
        "latency in 700ms..0.8s",
        "status == 200",
        "status in 200..299",
        "status in 200..200",
        "status in [200, 204]",
        "status != 500",
        "body != \"\"",
        "body contains 'queue'",
        "body./queue/depth < 100",
        "body./queue/depth==12",
        "body./queue/depth in 12..12",
        "body./queue/depth == 12.0",
        "body.\"/queue/a b\" == 1",
        "body./ == 7",
        "body.'' != null",
        "body./state == \"ok\"",
        "body./state == 'ok'",
        "body./state in ['idle', 'ok']",
        "body./state contains 'o'",
        "body./on == true",
        "body./on != false",
        "body./off == null",
        "body./on != null",
        "body./big == 9007199254740993",
        "body./big != 9007199254740992",
        "body./pi > 3",
        "body./pi < 1e3",
        "body./pi > -1.5",
        "body./items contains 'a'",
        "body./items contains 2",
        "not body./items contains 'b'",
        "len(body./items) == 3",
        "len( body./state ) == 2",
        "len(body) > 10",
        "len(header.content-type) > 0",
        "has(body./queue)",
        "not has(body./quux)",
        "has(header.Content-Type)",
        "not has(header.etag)",
        "header.content-type contains \"json\"",
        "header.CONTENT-TYPE == 'application/json'",
        "age(/backup) < 2h",
        "age( /backup ) == 1h30m",
        "size(/backup) >= 3MiB",
        "size(/backup) > 1000",
        "age('/with (parens)') == 0",
        "exists(/backup)",
        "not exists(/gone)",
        "status == 500 or status == 200",
        "not status == 500",
        "not not status == 200",
        "status == 200 and not (latency > 2s or status == 500)",
        "has(body./quux) or status == 200",
        // One that holds is enough, whatever is known of the other.
        "body./quux == 1 or status == 200",
        "not (body./quux == 1 and status == 500)",
    ] {
        assert_eq!(outcome(text, &facts()), Outcome::Holds, "{text}");
    }
}

#[test]
fn a_condition_that_fails_says_what_was_found() {
    for (text, found) in [
        ("latency < 500ms", "latency is 732ms"),
        ("status == 500", "status is 200"),
        ("status in 300..399", "status is 200"),
        ("not status == 200", "status is 200"),
        (
            "body == 'x'",
            r#"body is "{\"queue\": {\"depth\": 12, \"a b\": 1}, \"state\": \"ok\", \"on\": true".."#,
        ),
        ("body./queue/depth > 100", "body./queue/depth is the number 12"),
        ("body./state == 'bad'", "body./state is the string \"ok\""),
        ("body./items contains 'q'", "body./items is a list"),
        ("len(body./items) > 3", "len(body./items) is 3"),
        ("has(body./queue/deph)", "body: /queue has no \"deph\", did you mean \"depth\"?"),
        ("not has(body./queue)", "body./queue is there"),
        ("has(header.etag)", "header.etag is missing"),
        ("age(/backup) < 1h", "age(/backup) is 1h30m0s"),
        ("size(/backup) < 1MiB", "size(/backup) is 3MiB"),
        ("exists(/gone)", "/gone is missing"),
        ("status == 500 or latency < 1ms", "status is 200; latency is 732ms"),
        // What holds is not told, and neither is what cannot be.
        ("status == 200 and latency < 1ms and body./x == 1", "latency is 732ms"),
        ("status == 500 or status == 501", "status is 200"),
    ] {
        assert_eq!(outcome(text, &facts()), Outcome::Fails(found.to_owned()), "{text}");
    }
}

#[test]
fn a_condition_without_its_facts_is_undecided_and_says_which() {
    for (text, missing) in [
        ("body./queue/deph < 1", "body: /queue has no \"deph\", did you mean \"depth\"?"),
        ("not body./queue/deph < 1", "body: /queue has no \"deph\", did you mean \"depth\"?"),
        ("body./state < 1", "body./state: expected a number, found the string \"ok\""),
        ("body./state != 1", "body./state: expected a number, found the string \"ok\""),
        ("body./queue == 'x'", "body./queue: expected a string, found an object"),
        ("body./off > 1", "body./off: expected a number, found null"),
        ("body./on == 1", "body./on: expected a number, found true"),
        ("body./state in 1..2", "body./state: expected a number, found the string \"ok\""),
        ("body./on contains 'x'", "body./on: expected a string or a list, found true"),
        ("body./state contains 1", "body./state: expected a list, found the string \"ok\""),
        ("len(body./on) > 1", "body./on: expected a list, an object or a string, found true"),
        ("header.etag == 'x'", "header.etag is missing"),
        ("age(/gone) < 1h", "/gone is missing"),
        ("age(/closed) < 1h", "/closed: permission denied"),
        ("size(/other) < 1", "/other: nobody looked"),
        (
            "status == 500 or body./x/y == 1 or age(/gone) < 1h",
            "body: the document has no \"x\", it has \"\", \"big\", \"items\", \"off\", \"on\", ..; /gone is missing",
        ),
    ] {
        assert_eq!(outcome(text, &facts()), Outcome::Undecided(missing.to_owned()), "{text}");
    }
    // One such number does not keep the rest of its document from view.
    let large = Facts::new().status(200).body(r#"{"n": 1e999, "least": -1e999, "state": "ok"}"#);
    for text in [
        "body./state == 'ok'",
        "body./n > 1e308",
        "body./n > 18446744073709551615",
        "body./least < -1e308",
        "not (body./n in 0..100)",
    ] {
        assert_eq!(outcome(text, &large), Outcome::Holds, "{text}");
    }
    let html = Facts::new().status(200).body("<html>\n<b>no</b>");
    let Outcome::Undecided(reason) = outcome("body./x == 1", &html) else { panic!("HTML is no JSON") };
    assert_eq!(reason, "the body is not JSON (expected value at line 1 column 1): \"<html>\\n<b>no</b>\"");
    let none = Facts::new().no_answer("GET http://h/: connection refused");
    for text in
        ["status == 200", "latency < 1s", "body == ''", "body./x == 1", "has(body./x)", "has(header.x)"]
    {
        let expected = Outcome::Undecided("GET http://h/: connection refused".to_owned());
        assert_eq!(outcome(text, &none), expected, "{text}");
    }
    assert_eq!(outcome("status == 200", &Facts::new()), Outcome::Undecided("there is no answer".to_owned()));
}

#[test]
fn what_is_no_condition_is_told_at_its_character() {
    for (text, column, message) in [
        ("", 1, "expected a condition such as latency < 500ms, found the end"),
        ("  ", 3, "expected a condition such as latency < 500ms, found the end"),
        (
            "latncy < 1s",
            1,
            "expected a condition such as latency < 500ms, found \"latncy\", did you mean \"latency\"?",
        ),
        (
            "Latency < 1s",
            1,
            "expected a condition such as latency < 500ms, found \"Latency\", did you mean \"latency\"?",
        ),
        (
            "[STATUS] == 200",
            1,
            "expected a condition such as latency < 500ms, found \"[\", did you mean \"status\" without brackets?",
        ),
        ("latency", 8, "expected ==, !=, <, <=, >, >= or in, found the end"),
        ("latency 5", 9, "expected ==, !=, <, <=, >, >= or in, found \"5\""),
        ("latency = 5ms", 9, "expected ==, !=, <, <=, >, >= or in, found \"=\", did you mean \"==\"?"),
        ("latency ≤ 5ms", 9, "expected ==, !=, <, <=, >, >= or in, found \"≤\", did you mean \"<=\"?"),
        ("latency < 500", 11, "expected a duration such as 500ms, found the number 500"),
        ("latency < 500msec", 11, "expected a duration such as 500ms, found \"500msec\""),
        ("latency < 1GiB", 11, "expected a duration such as 500ms, found 1GiB"),
        ("latency < -5s", 11, "a duration is not negative, found \"-5s\""),
        ("latency < '5s'", 11, "expected a duration such as 500ms, found the string '5s'"),
        ("latency < ", 11, "expected a duration such as 500ms, found the end"),
        ("latency contains 5s", 9, "latency is no text: expected ==, !=, <, <=, >, >= or in, found contains"),
        ("status == 2000", 11, "expected a status from 100 to 999, found the number 2000"),
        ("status == 2.5", 11, "expected a status from 100 to 999, found the number 2.5"),
        ("status == ok", 11, "expected a status from 100 to 999, found \"ok\""),
        ("status in 299..200", 11, "expected the lower end first, found 299..200"),
        ("status in 200", 14, "expected \"..\" and the end of the range, found the end"),
        ("status in 200-299", 14, "expected \"..\" and the end of the range, found \"-\""),
        ("status in [200 204]", 16, "expected \",\" or \"]\", found \"2\""),
        ("status in []", 12, "expected a status from 100 to 999, found \"]\""),
        (
            "status == 200 && latency < 1s",
            15,
            "expected \"and\", \"or\" or the end, found \"&&\", did you mean \"and\"?",
        ),
        (
            "status == 200 || latency < 1s",
            15,
            "expected \"and\", \"or\" or the end, found \"||\", did you mean \"or\"?",
        ),
        (
            "!exists(/x)",
            1,
            "expected a condition such as latency < 500ms, found \"!\", did you mean \"not\"?",
        ),
        (
            "status == 200 nad latency < 1s",
            15,
            "expected \"and\", \"or\" or the end, found \"nad\", did you mean \"and\"?",
        ),
        ("(status == 200", 15, "expected \"and\", \"or\" or \")\", found the end"),
        ("status == 200)", 14, "expected \"and\", \"or\" or the end, found \")\""),
        ("body < 'x'", 6, "body is text: expected ==, !=, contains or in, found <"),
        ("body == 5", 9, "expected a string such as \"ok\", found the number 5"),
        ("body == \"x", 9, "the string has no end: expected another \""),
        ("body == '\\q'", 10, r#"expected \\, \", \', \n, \r, \t, \0 or \u{..} after a backslash"#),
        ("body == '\\u{d800}'", 10, r#"expected \\, \", \', \n, \r, \t, \0 or \u{..} after a backslash"#),
        ("body.queue == 5", 6, "expected a JSON pointer such as /queue/depth, found \"queue\""),
        ("body.'queue' == 5", 6, "expected a JSON pointer such as \"/queue/depth\", found \"queue\""),
        ("body./a~2 == 5", 6, "expected ~0 (a tilde) or ~1 (a slash) after the ~ in \"a~2\""),
        ("body./x < 'a'", 11, "< compares numbers, found the string 'a'"),
        ("body./x < null", 11, "< compares numbers, found null"),
        ("body./x == 5s", 12, "expected a number, a string, true, false or null, found 5s"),
        ("body./x == 1e999", 12, "the number \"1e999\" is too large"),
        ("body./x == 10%", 12, "there is nothing to take \"10%\" of"),
        ("body./x == nul", 12, "expected a number, a string, true, false or null, found \"nul\""),
        ("body./x in ['a', 1]", 18, "expected a string as before, found the number 1"),
        ("body./x in 'a'", 12, "expected a range such as 1..5 or a list such as ['a'], found 'a'"),
        ("body./x contains true", 18, "expected a string or a number, found true"),
        (
            "has(body./x) == true",
            14,
            "has(body./x) is true or false by itself, found a comparison; see also not",
        ),
        ("has(body)", 5, "expected body./POINTER or header.NAME, found body by itself"),
        ("has(status)", 5, "expected body./POINTER or header.NAME, found \"status\""),
        ("len(body./x) > -1", 16, "expected a whole number that is not negative, found the number -1"),
        (
            "header == 'x'",
            8,
            "expected a dot and the name of a header, such as header.content-type, found \"=\", did you mean \"==\"?",
        ),
        (
            "header. == 'x'",
            9,
            "expected the name of a header, such as content-type, found \"=\", did you mean \"==\"?",
        ),
        ("age < 1h", 5, "expected \"(\", found \"<\""),
        ("age() < 1h", 5, "expected a path, found none"),
        ("age(/x < 1h", 5, "expected a path and \")\"; a path with parentheses or quotes stands in quotes"),
        (
            "age(/x(1)) < 1h",
            5,
            "expected a path and \")\"; a path with parentheses or quotes stands in quotes",
        ),
        ("age(/x) < 1h30", 11, "expected a duration such as 500ms, found \"1h30\""),
        ("age(/é) < 5", 11, "expected a duration such as 500ms, found the number 5"),
        ("size(/x) < 1GB and", 19, "expected a condition such as latency < 500ms, found the end"),
        ("size(/x) < 1gb", 12, "expected a size such as 1GiB, found \"1gb\""),
        ("size(/x) < 99999999TiB", 12, "a size must be less than 16777216TiB, found \"99999999TiB\""),
    ] {
        let error = Condition::parse(text).expect_err(text);
        assert_eq!((error.column(), error.message()), (column, message), "{text}");
        let excerpt = error.excerpt();
        let caret = excerpt.lines().last().unwrap();
        assert_eq!(caret.chars().count(), column, "{excerpt}");
    }
    let deep = format!("{}status == 200", "not ".repeat(17));
    assert_eq!(Condition::parse(&deep).unwrap_err().message(), "nests deeper than 16");
    let deep = "(".repeat(100_000);
    assert_eq!(
        Condition::parse(&deep).unwrap_err().message(),
        "a condition has at most 1024 bytes, found 100000"
    );
    let long = format!("body./x in [{}1]", "1,".repeat(100));
    assert_eq!(Condition::parse(&long).unwrap_err().message(), "a list has at most 100 values");
}

#[test]
fn a_condition_says_what_it_is_about() {
    let about = |text: &str| {
        let condition = Condition::parse(text).unwrap();
        let files: Vec<String> = condition.files().into_iter().map(str::to_owned).collect();
        (condition.is_about_an_answer(), condition.is_about_http(), files)
    };
    assert_eq!(about("latency < 1s"), (true, false, vec![]));
    assert_eq!(about("status == 200 or latency < 1s"), (true, true, vec![]));
    assert_eq!(
        about("age(/b) < 1s and (size(/a) > 1 or not exists(/b))"),
        (false, false, vec!["/b".to_owned(), "/a".to_owned()])
    );
}

fn text() -> impl Strategy<Value = String> {
    prop_oneof!["[a-z/()\"' \\\\]{0,8}", "\\PC{0,6}", Just("\n\u{1b}\t\0".to_owned()), Just("ok".to_owned())]
}

fn path() -> impl Strategy<Value = String> {
    text().prop_map(|text| format!("/{}", text.replace('\0', "")))
}

fn pointer() -> impl Strategy<Value = Pointer> {
    text().prop_map(|text| {
        let escaped = text.replace('~', "~0").replace(char::is_control, "");
        Pointer::new(if escaped.is_empty() { escaped } else { format!("/{escaped}") }).unwrap()
    })
}

fn number() -> impl Strategy<Value = Number> {
    prop_oneof![
        any::<i64>().prop_map(|n| Number::Whole(n.into())),
        any::<u64>().prop_map(|n| Number::Whole(n.into())),
        any::<f64>().prop_filter("finite", |n| n.is_finite()).prop_map(Number::Float),
    ]
}

fn op() -> impl Strategy<Value = Op> {
    prop::sample::select(Op::ALL.to_vec())
}

fn test() -> impl Strategy<Value = Expr> {
    let durations = || (0..=u64::MAX / 2).prop_map(|nanos| Literal::Duration(Duration::from_nanos(nanos)));
    let sizes = || any::<u64>().prop_map(Literal::Size);
    let numbers = || number().prop_map(Literal::Number);
    let texts = || text().prop_map(Literal::Text);
    let statuses = || (100..=999_i128).prop_map(|n| Literal::Number(Number::Whole(n)));
    let equal = || prop::sample::select(vec![Op::Eq, Op::Ne]);
    prop_oneof![
        (op(), durations()).prop_map(|(op, at)| Expr::Test(Subject::Latency, Check::Compare(op, at))),
        (path(), op(), durations())
            .prop_map(|(path, op, at)| Expr::Test(Subject::Age(path), Check::Compare(op, at))),
        (path(), op(), sizes())
            .prop_map(|(path, op, at)| Expr::Test(Subject::Size(path), Check::Compare(op, at))),
        path().prop_map(|path| Expr::Test(Subject::Exists(path), Check::Truth)),
        (100..=500_i128, 0..=400_i128).prop_map(|(first, more)| {
            let [first, last] = [first, first + more].map(|n| Literal::Number(Number::Whole(n)));
            Expr::Test(Subject::Status, Check::Between(first, last))
        }),
        prop::collection::vec(statuses(), 1..4).prop_map(|all| Expr::Test(Subject::Status, Check::In(all))),
        (equal(), texts()).prop_map(|(op, text)| Expr::Test(Subject::Body, Check::Compare(op, text))),
        (pointer(), op(), numbers())
            .prop_map(|(at, op, n)| Expr::Test(Subject::Json(at), Check::Compare(op, n))),
        (
            pointer(),
            equal(),
            prop_oneof![texts(), any::<bool>().prop_map(Literal::Bool), Just(Literal::Null)]
        )
            .prop_map(|(at, op, value)| Expr::Test(Subject::Json(at), Check::Compare(op, value))),
        (pointer(), texts()).prop_map(|(at, text)| Expr::Test(Subject::Json(at), Check::Contains(text))),
        ("[a-z0-9_-]{1,8}", texts())
            .prop_map(|(name, text)| Expr::Test(Subject::Header(name), Check::Contains(text))),
        pointer().prop_map(|at| Expr::Test(Subject::HasJson(at), Check::Truth)),
        (pointer(), op(), 0..9_i128).prop_map(|(at, op, n)| {
            Expr::Test(Subject::LenJson(at), Check::Compare(op, Literal::Number(Number::Whole(n))))
        }),
    ]
}

fn expr() -> impl Strategy<Value = Expr> {
    test().prop_recursive(4, 12, 3, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 2..3).prop_map(Expr::Or),
            prop::collection::vec(inner.clone(), 2..3).prop_map(Expr::And),
            inner.prop_map(|one| Expr::Not(Box::new(one))),
        ]
    })
}

proptest! {
    #[test]
    fn what_is_written_is_read_back(expr in expr()) {
        let condition = Condition(expr);
        let written = condition.to_string();
        prop_assume!(written.len() <= super::MAX_LEN);
        let read = Condition::parse(&written);
        prop_assert_eq!(read.as_ref(), Ok(&condition), "{}", written);
        let _ = condition.evaluate(&facts());
    }

    #[test]
    fn no_text_makes_the_parser_panic(text in "[a-z0-9 ./<>=!()\\[\\]\"',\\\\{}~é&|-]{0,40}") {
        match Condition::parse(&text) {
            Ok(condition) => {
                prop_assert_eq!(Condition::parse(&condition.to_string()), Ok(condition));
            }
            Err(error) => {
                prop_assert!(error.column() <= text.chars().count() + 1);
                prop_assert!(!error.to_string().contains('\n'));
            }
        }
    }
}
