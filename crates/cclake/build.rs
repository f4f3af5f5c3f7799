//! Finds the prebuilt `libduckdb` at run time: the executable and its tests get its folder as their run path.

fn main() {
    println!("cargo:rerun-if-env-changed=DUCKDB_LIB_DIR");
    if let Some(folder) =
        std::env::var_os("DUCKDB_LIB_DIR").and_then(|folder| std::fs::canonicalize(folder).ok())
    {
        println!("cargo:rustc-link-arg=-Wl,-rpath,{}", folder.display());
    }
}
