//! Finds the two stores that are C libraries of the system. Without their development packages they are left out,
//! and the tables say so.

fn main() {
    println!("cargo::rerun-if-changed=shim/pmemobj.c");
    if pkg_config::probe_library("rocksdb").is_ok() {
        println!("cargo::rustc-cfg=have_rocksdb");
    }
    // The shim first: it needs the libraries that follow it.
    let config = |print| pkg_config::Config::new().cargo_metadata(print).probe("libpmemobj");
    if config(false).is_ok() {
        cc::Build::new()
            .file("shim/pmemobj.c")
            .opt_level(2)
            .warnings_into_errors(true)
            .compile("abide_pmemobj");
        if config(true).is_ok() {
            println!("cargo::rustc-cfg=have_pmemobj");
            // The shim's, which counts fences, comes before libpmem's.
            println!("cargo::rustc-link-arg=-Wl,--export-dynamic-symbol=pmem_drain,--undefined=pmem_drain");
        }
    }
}
