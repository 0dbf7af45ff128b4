//! A parameter that is fixed cannot be traced as if it had edges, nor have a brand, nor be another at another scope.

use lacuna::*;

#[derive(Trace)]
struct Traced<#[trace(fixed)] T>(Vec<T>);

#[derive(Trace)]
struct Edge<#[trace(fixed)] T: Trace>(T);

#[derive(Trace)]
struct Misspelt<#[trace(fix)] T>(T);

#[derive(Trace)]
struct Skips<#[trace(fixed)] T>(#[trace(skip)] Vec<T>);

fn escape<'gc>(cx: &Mutator<'gc>, edge: Gc<'gc, u32>) {
    cx.alloc(Skips(vec![edge]));
}

fn main() {}
