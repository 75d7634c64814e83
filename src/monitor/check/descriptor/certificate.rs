//! A checker of certificates from configuration.

use super::super::certificate;
use super::super::certificate::MIN_LEFT;
use super::{Flaw, Found, check_paths, expect_with, tell};
use crate::decode::Object;
use crate::probe::tcp::check_address;

pub(super) fn read(o: &mut Object<'_, '_>) -> Found {
    o.doc("Looks until when certificates of servers and in files are valid; each is an item.");
    let addresses = o.strings("addresses").doc("Servers, as HOST:PORT.").or_default();
    let flaws = addresses
        .iter()
        .enumerate()
        .filter_map(|(idx, address)| check_address(address).err().map(|text| Flaw { idx, at: None, text }));
    let flaws: Vec<Flaw> = flaws.collect();
    if !flaws.is_empty() {
        tell(o, "addresses", "", flaws);
    }
    let files = o.strings("files").doc("Files in PEM form; the certificate that ends first counts.");
    let files = files.or_default();
    check_paths(o, "files", &files);
    let name = o.string("server_name");
    let name = name.doc("The name that servers are asked for; the host of each when absent.").optional();
    let min_left = o.duration("min_left").doc("How long a certificate must still be valid.").or(MIN_LEFT);
    if addresses.is_empty() && files.is_empty() && !o.has("addresses") && !o.has("files") {
        o.fault("addresses", "there is neither an address nor a file");
    }
    if !o.has("addresses") {
        expect_with(o, "server_name", "addresses");
    }
    o.done()?;
    let mut checker = certificate().min_left(min_left);
    for address in addresses {
        checker = checker.address(address);
    }
    for path in files {
        checker = checker.file(path);
    }
    if let Some(name) = name {
        checker = checker.server_name(name);
    }
    match crate::monitor::Checker::validate(&checker) {
        Ok(()) => Some(Box::new(checker)),
        Err(error) => {
            let text = error.to_string();
            // Only the names were not looked at yet.
            o.fault("server_name", text.trim_start_matches("server_name: "));
            None
        }
    }
}
