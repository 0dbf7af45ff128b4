//! What was written: reads the input into a [`Subject`] and refuses, with advice, what the derive cannot be sound or
//! clear about.
//!
//! The refusals here are for the reader: each names what to do instead. Soundness does not rest on them alone, because
//! they see tokens and not types; `checks` has the last word.

use proc_macro2::{Ident, Span, TokenStream};
use quote::{ToTokens, format_ident, quote};
use syn::{
    Attribute, Data, DeriveInput, Error, Fields, Generics, Lifetime, Member, Path, Result, Type, TypeParam,
    TypeParamBound, WherePredicate, parse_quote,
};

use crate::substitute::{self, mentions_any, mentions_lifetime};

/// The type that derives.
pub(crate) struct Subject {
    /// Where the core is.
    pub(crate) core: Path,
    pub(crate) ident: Ident,
    pub(crate) generics: Generics,
    /// The type parameters that are the same at every scope.
    pub(crate) fixed: Vec<Ident>,
    /// The type's only lifetime.
    pub(crate) brand: Option<Lifetime>,
    /// A lifetime the input does not use, for the scope in `At`. Its name shows up in error messages.
    pub(crate) other_scope: Lifetime,
    /// A type name the input does not use.
    pub(crate) visitor: Ident,
    pub(crate) is_recursive: bool,
    /// A struct is a single variant.
    pub(crate) variants: Vec<Variant>,
}

pub(crate) struct Variant {
    /// `Type` or `Type::Variant`, to be followed by a brace pattern.
    pub(crate) path: TokenStream,
    pub(crate) fields: Vec<Field>,
}

pub(crate) struct Field {
    pub(crate) member: Member,
    pub(crate) ty: Type,
    pub(crate) kind: Kind,
}

/// What a field is to the collector, and so what has to be proved about it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// May hold edges: visited; must be `Trace` and follow the brand.
    Traced,
    /// Skipped, or a function pointer: must be `'static` and the same at every scope.
    Skipped,
    /// Must be the `PhantomData` of the core library, of anything.
    Phantom,
}

impl Subject {
    pub(crate) fn read(input: &DeriveInput) -> Result<Self> {
        let options = TypeOptions::read(&input.attrs)?;
        refuse_packed(&input.attrs)?;
        let brand = read_brand(&input.generics)?;
        let (generics, fixed) = read_fixed(&input.generics)?;
        refuse_bounds(&generics, &fixed)?;

        let used = input.to_token_stream().to_string();
        let mut subject = Self {
            core: options.core,
            ident: input.ident.clone(),
            generics,
            fixed,
            brand,
            other_scope: Lifetime::new(&format!("'{}", unused("any_scope", &used)), Span::call_site()),
            visitor: format_ident!("{}", unused("AnyVisitor", &used)),
            is_recursive: options.is_recursive,
            variants: Vec::new(),
        };
        let ident = &input.ident;
        subject.variants = match &input.data {
            Data::Struct(data) => vec![subject.read_variant(quote!(#ident), &data.fields)?],
            Data::Enum(data) => {
                let mut variants = Vec::new();
                for variant in &data.variants {
                    refuse_options(&variant.attrs)?;
                    let name = &variant.ident;
                    variants.push(subject.read_variant(quote!(#ident::#name), &variant.fields)?);
                }
                variants
            }
            Data::Union(data) => {
                return Err(Error::new(
                    data.union_token.span,
                    "a union cannot be traced: nothing says which of its fields is alive; use an enum",
                ));
            }
        };
        Ok(subject)
    }

    fn read_variant(&self, path: TokenStream, fields: &Fields) -> Result<Variant> {
        let fields = fields
            .members()
            .zip(fields)
            .map(|(member, field)| self.read_field(member, field))
            .collect::<Result<_>>()?;
        Ok(Variant { path, fields })
    }

    fn read_field(&self, member: Member, field: &syn::Field) -> Result<Field> {
        let ty = &field.ty;
        if let Some(name) = substitute::find_macro(ty.to_token_stream()) {
            return Err(Error::new(
                name.span(),
                "the type of a traced field cannot come from a macro: the derive would have to expand it a second time; \
                 name it with a type alias",
            ));
        }
        let kind = if read_skip(&field.attrs)? {
            if self.may_vary(ty) {
                return Err(Error::new_spanned(
                    ty,
                    "a skipped field cannot mention the brand or a type parameter: the collector would miss its edges; \
                     remove `#[trace(skip)]`, or use a type that is the same at every scope",
                ));
            }
            Kind::Skipped
        } else if let Type::FnPtr(_) = ty {
            if self.may_vary(ty) {
                return Err(Error::new_spanned(
                    ty,
                    "a function pointer in the heap cannot mention the brand or a type parameter: it outlives the scope; \
                     make it work for every scope: `for<'any> fn(&Mutator<'any>, ..)`",
                ));
            }
            Kind::Skipped
        } else if is_phantom(ty) {
            Kind::Phantom
        } else {
            Kind::Traced
        };
        Ok(Field { member, ty: ty.clone(), kind })
    }

    /// Whether the tokens of `ty` leave open that it differs from scope to scope.
    fn may_vary(&self, ty: &Type) -> bool {
        self.mentions_brand(ty)
            || mentions_any(ty.to_token_stream(), &|ident| {
                self.is_param(ident) || (self.may_hold_edges() && ident == "Self")
            })
    }

    /// Whether it names a type parameter that differs from scope to scope.
    pub(crate) fn is_param(&self, ident: &Ident) -> bool {
        self.generics.type_params().any(|param| param.ident == *ident) && !self.fixed.contains(ident)
    }

    pub(crate) fn mentions_brand(&self, ty: &Type) -> bool {
        self.brand.as_ref().is_some_and(|brand| mentions_lifetime(ty.to_token_stream(), &brand.ident))
    }

    pub(crate) fn mentions_itself(&self, ty: &Type) -> bool {
        mentions_any(ty.to_token_stream(), &|ident| *ident == self.ident || ident == "Self")
    }

    /// A type with neither a brand nor a type parameter that may have one is the same at every scope, so it cannot hold
    /// an edge.
    pub(crate) fn may_hold_edges(&self) -> bool {
        self.brand.is_some() || self.generics.type_params().any(|param| self.is_param(&param.ident))
    }
}

struct TypeOptions {
    core: Path,
    is_recursive: bool,
}

impl TypeOptions {
    fn read(attrs: &[Attribute]) -> Result<Self> {
        let mut options = Self { core: parse_quote!(::lacuna), is_recursive: false };
        for attr in attrs.iter().filter(|attr| attr.path().is_ident("trace")) {
            attr.parse_nested_meta(|meta| {
                if meta.path.is_ident("crate") {
                    options.core = meta.value()?.call(Path::parse_mod_style)?;
                } else if meta.path.is_ident("recursive") {
                    options.is_recursive = true;
                } else if meta.path.is_ident("skip") {
                    return Err(meta.error("`skip` belongs on a field"));
                } else {
                    return Err(meta.error("expected `crate = path` or `recursive`"));
                }
                Ok(())
            })?;
        }
        Ok(options)
    }
}

fn read_skip(attrs: &[Attribute]) -> Result<bool> {
    let mut skip = false;
    for attr in attrs.iter().filter(|attr| attr.path().is_ident("trace")) {
        attr.parse_nested_meta(|meta| {
            if !meta.path.is_ident("skip") {
                return Err(meta.error("expected `skip`"));
            }
            skip = true;
            Ok(())
        })?;
    }
    Ok(skip)
}

fn refuse_options(attrs: &[Attribute]) -> Result<()> {
    match attrs.iter().find(|attr| attr.path().is_ident("trace")) {
        Some(attr) => {
            Err(Error::new_spanned(attr, "`#[trace(..)]` belongs on the enum or on a field, not on a variant"))
        }
        None => Ok(()),
    }
}

fn refuse_packed(attrs: &[Attribute]) -> Result<()> {
    for attr in attrs.iter().filter(|attr| attr.path().is_ident("repr")) {
        let tokens = attr.meta.to_token_stream();
        if mentions_any(tokens, &|ident| ident == "packed") {
            return Err(Error::new_spanned(
                attr,
                "a packed type cannot be traced: the collector needs references to its fields; remove `packed`",
            ));
        }
    }
    Ok(())
}

fn read_brand(generics: &Generics) -> Result<Option<Lifetime>> {
    let mut lifetimes = generics.lifetimes();
    let Some(brand) = lifetimes.next() else {
        return Ok(None);
    };
    if let Some(second) = lifetimes.next() {
        return Err(Error::new_spanned(
            &second.lifetime,
            format!(
                "a traced type has at most one lifetime, the brand of its heap, here `{}`: an object outlives every \
                 borrow; own the data or store it in the heap",
                brand.lifetime
            ),
        ));
    }
    if let Some(bound) = brand.bounds.first() {
        return Err(bounded_brand(bound));
    }
    Ok(Some(brand.lifetime.clone()))
}

/// Takes `#[trace(fixed)]` off the type parameters that have it. They get the bound `'static`.
fn read_fixed(generics: &Generics) -> Result<(Generics, Vec<Ident>)> {
    let mut generics = generics.clone();
    let mut fixed = Vec::new();
    for param in generics.type_params_mut() {
        let mut is_fixed = false;
        for attr in param.attrs.iter().filter(|attr| attr.path().is_ident("trace")) {
            attr.parse_nested_meta(|meta| {
                if !meta.path.is_ident("fixed") {
                    return Err(meta.error("expected `fixed`"));
                }
                is_fixed = true;
                Ok(())
            })?;
        }
        param.attrs.retain(|attr| !attr.path().is_ident("trace"));
        if is_fixed {
            param.bounds.push(parse_quote!('static));
            fixed.push(param.ident.clone());
        }
    }
    Ok((generics, fixed))
}

fn bounded_brand(at: &dyn ToTokens) -> Error {
    Error::new_spanned(at, "the brand of a traced type cannot be bounded: it stands for any scope")
}

fn refuse_bounds(generics: &Generics, fixed: &[Ident]) -> Result<()> {
    for TypeParam { ident, bounds, .. } in generics.type_params() {
        if !fixed.contains(ident) {
            bounds.iter().try_for_each(refuse_maybe_sized)?;
        }
    }
    for predicate in generics.where_clause.iter().flat_map(|clause| &clause.predicates) {
        if substitute::mentions_any(predicate.to_token_stream(), &|ident| ident == "Self") {
            return Err(Error::new_spanned(
                predicate,
                "a traced type cannot bound `Self` in its where clause; bound its parameters, or the impls that need it",
            ));
        }
        match predicate {
            WherePredicate::Type(predicate) => {
                let is_fixed = matches!(&predicate.bounded_ty, Type::Path(ty)
                    if ty.path.get_ident().is_some_and(|ident| fixed.contains(ident)));
                if !is_fixed {
                    predicate.bounds.iter().try_for_each(refuse_maybe_sized)?;
                }
            }
            other => return Err(bounded_brand(other)),
        }
    }
    Ok(())
}

fn refuse_maybe_sized(bound: &TypeParamBound) -> Result<()> {
    match bound {
        TypeParamBound::Trait(bound) if bound.to_token_stream().to_string().starts_with('?') => {
            Err(Error::new_spanned(
                bound,
                "a type parameter of a traced type is `Sized`: remove `?Sized` and name the unsized type in the field, \
             as in `Gc<'gc, [T]>` or `Gc<'gc, dyn Shape<'gc>>`",
            ))
        }
        _ => Ok(()),
    }
}

fn is_phantom(ty: &Type) -> bool {
    match ty {
        Type::Path(ty) => ty.path.segments.last().is_some_and(|segment| segment.ident == "PhantomData"),
        Type::Group(ty) => is_phantom(&ty.elem),
        _ => false,
    }
}

fn unused(name: &str, text: &str) -> String {
    let mut name = String::from(name);
    while text.contains(&name) {
        name.push('_');
    }
    name
}
