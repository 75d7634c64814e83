//! Lays one tree over another, key by key.

use super::{Fault, Members, Node, Value, join};

impl Node {
    /// Lays `top` over this tree: objects are merged, everything else of
    /// `top` wins. An object and something else do not replace each other,
    /// because that would drop what nobody named; only `null` does. What does
    /// not fit is a fault that names both places, and stays as it was.
    pub(crate) fn overlay(&mut self, top: Self, path: &str, faults: &mut Vec<Fault>) {
        match (&mut self.value, top.value) {
            (Value::Object(below), Value::Object(above)) => {
                below.overlay(above, path, faults);
                self.place = top.place;
            }
            (below, above) => {
                let is_object = |value: &Value| matches!(value, Value::Object(_));
                let is_null = *below == Value::Null || above == Value::Null;
                if is_object(below) == is_object(&above) || is_null {
                    *self = Self::new(top.place, above);
                    return;
                }
                let what = if is_object(below) { "is an object" } else { "is not an object" };
                let message = format!("{what} in {}, so this cannot take its place", self.place);
                faults.push(Fault { place: top.place, key: path.to_owned(), message });
            }
        }
    }
}

impl Members {
    fn overlay(&mut self, above: Self, path: &str, faults: &mut Vec<Fault>) {
        if self.is_empty() {
            *self = above;
            return;
        }
        let places = self.places();
        let places: Vec<Option<usize>> =
            above.iter().map(|member| places.get(&*member.key).copied()).collect();
        for (member, place) in above.into_iter().zip(places) {
            match place {
                Some(idx) => {
                    let below = &mut self.0[idx];
                    below.key_place = member.key_place;
                    below.node.overlay(member.node, &join(path, &member.key), faults);
                }
                // Keys of one object differ, so it is in no other's way.
                None => self.0.push(member),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::tree::{Faults, parse};

    fn check(below: &str, above: &str) -> (String, String) {
        let mut node = parse("a", below).unwrap();
        let mut faults = Vec::new();
        node.overlay(parse("b", above).unwrap(), "", &mut faults);
        let faults = Faults::collect(faults).map(|faults| faults.to_string()).unwrap_or_default();
        (node.to_json().to_string(), faults)
    }

    #[test]
    fn the_upper_tree_wins_key_by_key() {
        for (below, above, merged) in [
            ("{}", r#"{"a":1}"#, r#"{"a":1}"#),
            (
                r#"{"a":1,"b":{"c":1,"d":[1,2]}}"#,
                r#"{"b":{"d":[3],"e":null}}"#,
                r#"{"a":1,"b":{"c":1,"d":[3],"e":null}}"#,
            ),
            (r#"{"a":{"b":1}}"#, r#"{"a":null}"#, r#"{"a":null}"#),
            (r#"{"a":null}"#, r#"{"a":{"b":1}}"#, r#"{"a":{"b":1}}"#),
            (r#"{"a":1}"#, r#"{"a":"x"}"#, r#"{"a":"x"}"#),
        ] {
            assert_eq!(check(below, above), (merged.to_owned(), String::new()), "{below} {above}");
        }
    }

    #[test]
    fn an_object_and_a_scalar_do_not_replace_each_other() {
        let (merged, faults) = check(r#"{"a":{"b":1},"c":1,"d":1}"#, r#"{"a":5,"c":{"x":1},"d":2}"#);
        assert_eq!(merged, r#"{"a":{"b":1},"c":1,"d":2}"#);
        assert_eq!(
            faults,
            "b:1:6: a: is an object in a:1:6, so this cannot take its place\n\
             b:1:12: c: is not an object in a:1:18, so this cannot take its place"
        );
    }
}
