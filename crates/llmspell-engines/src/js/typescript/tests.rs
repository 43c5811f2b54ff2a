use llmspell_core::Source;

use super::strip;

#[test]
fn types_are_blanked_where_they_stand() {
    let cases = [
        ("let x: number = 1", "let x         = 1"),
        ("let x!: number; x = 1", "let x         ; x = 1"),
        ("const { a }: { a: string } = o", "const { a }                = o"),
        (
            "function f<T>(a: T, b?: number, ...c: T[]): T { return a }",
            "function f   (a   , b         , ...c     )    { return a }",
        ),
        ("function f(this: Window, a = 1 as number) {}", "function f(              a = 1          ) {}"),
        ("const f = <T,>(x: T): x is T => x", "const f =     (x   )         => x"),
        (
            "const f = (\n  x: number\n): Promise<\n  void\n> => x",
            "const f = (\n  x        \n           \n      \n) => x",
        ),
        ("async (x?: number) => x!", "async (x         ) => x "),
        ("x = <any>y as unknown satisfies Z", "x =      y                       "),
        (
            "f<string>(1); new Map<string, number>(); tag<T>`x`; const g = f<T>",
            "f        (1); new Map                (); tag   `x`; const g = f   ",
        ),
        ("type A = string\ninterface B { c: A }\n[1]", ";              \n;                   \n[1]"),
        ("export type A = 1; export interface B {}", ";                  ;                    "),
        (
            "import type { A } from './a'; import { type B, c, type D } from './b'; c()",
            ";                             import {         c,        } from './b'; c()",
        ),
        ("export type { A }; let c; export { type B, c }", ";                  let c; export {         c }"),
        (
            "declare const x: number; declare function f(): void; declare class C {}",
            ";                        ;                           ;                 ",
        ),
        ("declare module 'x' {}\ndeclare global {}", ";                    \n;                "),
        ("function f(a: 1): void; function f(a: any) {}", ";                       function f(a     ) {}"),
        ("try {} catch (e: unknown) {}", "try {} catch (e         ) {}"),
        ("for (const x of y as number[]) {}", "for (const x of y            ) {}"),
        ("(x as any) = 1; (x!).y = 2; x!.y!()", " x         = 1; (x ).y = 2; x .y ()"),
        (
            "abstract class A<T> extends B<T> implements C, D<T> { }",
            "         class A    extends B                       { }",
        ),
        (
            "class A { private readonly x: number = 1; static y?: string; declare z: 1; w!: 2 }",
            "class A {                  x         = 1; static y         ; ;             w     }",
        ),
        (
            "class A { public async m?(): void {} protected get g(): 1 { return 1 } override ['k'](): 2 {} }",
            "class A {        async m ()       {}           get g()    { return 1 }          ['k']()    {} }",
        ),
        (
            "abstract class A { abstract m(): void; abstract x: 1; [k: string]: any; m(a: 1): void; m(a: any) {} }",
            "         class A { ;                   ;              ;                 ;              m(a     ) {} }",
        ),
        ("class A { constructor(x: number) {} }", "class A { constructor(x        ) {} }"),
        ("let é: 'ü' = 'ü'; let s = `${x as T}`", "let é      = 'ü'; let s = `${x     }`"),
        ("const x = { a: 1 } as const", "const x = { a: 1 }         "),
        ("label: for (;;) { a ? b : c }", "label: for (;;) { a ? b : c }"),
        ("x = y as T\n(z)", "x = y;    \n(z)"),
        ("function f() { return <T>\n1 }", "function f() { return 0, \n1 }"),
        ("() => <T>{ a: 1 }", "() => 0||{ a: 1 }"),
        ("const f = async <T>\n(x: T) => x", "const f = async (  \n x   ) => x"),
        ("class A { a = 1\nprivate ['b'] = 2 }", "class A { a = 1\n;       ['b'] = 2 }"),
        ("class A { get: T\nx() {} }", "class A { get;  \nx() {} }"),
        ("let x; (x as T) = () => {}", "let x;  x       = () => {}"),
        ("import { T } from './a'; let x: T", ";                        let x   "),
    ];
    for (typed, plain) in cases {
        let stripped =
            strip(&Source::new("a.ts", typed)).unwrap_or_else(|found| panic!("{typed}: {found:?}"));
        assert_eq!(stripped, plain, "{typed}");
        assert_eq!(stripped.chars().count(), typed.chars().count());
    }
}

#[test]
fn what_is_more_than_a_type_is_refused() {
    let cases = [
        ("enum A { B }", "a.ts:1:1: an enum is not just a type: it makes code, which types here do not"),
        (
            "\nexport enum A { B }",
            "a.ts:2:8: an enum is not just a type: it makes code, which types here do not",
        ),
        (
            "namespace A { export const b = 1 }",
            "a.ts:1:1: a namespace is not just a type: it makes code, which types here do not",
        ),
        (
            "class A { constructor(private x: number) {} }",
            "a.ts:1:23: a parameter property is not just a type: it makes code, which types here do not",
        ),
        ("export = 1", "a.ts:1:1: `export =` is not just a type: it makes code, which types here do not"),
        ("let x: = 1", "a.ts:1:8: Unexpected token"),
        (
            "let é: 'ü'\nlet x = -é as T ** 2",
            "a.ts:2:9: without `as` this would be other code: the types here cannot be taken out",
        ),
        ("let x = <div>text</div>", "a.ts:1:19: JSX is not supported"),
    ];
    for (typed, said) in cases {
        let found = strip(&Source::new("a.ts", typed)).unwrap_err();
        assert_eq!(format!("{}: {}", found.place, found.message), said, "{typed}");
    }
}

#[test]
fn a_source_that_is_nested_without_end_is_refused_or_read() {
    let shapes = [
        "(",
        "[",
        "!",
        "-",
        "typeof ",
        "new ",
        "a=>",
        "a?b:",
        "a**",
        "1+",
        "a.",
        "if(a)",
        "else ",
        "a:",
        "A<",
        "`${",
        "{",
        "[[]]:",
        "if(a);else ",
        "keyof ",
        "await ",
        "a=",
        "(a)=>",
        "a(",
        "x as ",
        "!\n",
        "function(){",
        "a,",
        "a||",
        "f()",
        "[]",
    ];
    for shape in shapes {
        for (start, end) in [("", ""), ("", "x"), ("let x: ", ""), ("type X = ", "x")] {
            let text = format!("{start}{}{end}", shape.repeat(1024 * 1024 / shape.len()));
            // The result does not matter, but `strip` must return.
            let _ = strip(&Source::new("a.ts", text));
        }
    }
}
