//! Generated TypeScript programs: values, types around them, and a next line that JavaScript may read as a
//! continuation.

/// Generates the same programs for the same seed, with SplitMix64 (Steele, Lea and Flood, 2014).
pub(crate) struct Generator {
    state: u64,
    names: usize,
}

impl Generator {
    pub(crate) fn new(seed: u64) -> Self {
        Self { state: seed, names: 0 }
    }

    fn below(&mut self, most: usize) -> usize {
        self.state = self.state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.state;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        ((mixed ^ (mixed >> 31)) % most as u64) as usize
    }

    fn one<'a>(&mut self, of: &[&'a str]) -> &'a str {
        of[self.below(of.len())]
    }

    /// Fills the holes of a template: `$E` a value, `$T` a type, `$P` parameters, `$S` statements, `$M` class members,
    /// `$N` a new name, `$_` a gap.
    fn fill(&mut self, template: &str, depth: usize) -> String {
        let mut out = String::new();
        // Each template uses new names.
        self.names += usize::from(template.contains("$N"));
        let name = format!("N{}", self.names);
        let mut letters = template.chars();
        while let Some(letter) = letters.next() {
            if letter != '$' {
                out.push(letter);
                continue;
            }
            let part = match letters.next() {
                Some('E') => self.value(depth),
                Some('T') => self.kind(depth),
                Some('P') => self.parameters(depth),
                Some('S') => self.statements(depth),
                Some('M') => self.members(depth),
                Some('N') => name.clone(),
                Some('_') => self.gap().to_owned(),
                Some('{') => "${".to_owned(),
                hole => unreachable!("{hole:?} in {template}"),
            };
            out.push_str(&part);
        }
        out
    }

    /// Returns what may stand between two tokens.
    fn gap(&mut self) -> &'static str {
        self.one(&[" ", " ", " ", " ", " ", "\n", "\n", " /* ) */ ", " // (\n", "/*\n*/", "\r\n", "\u{2028}"])
    }

    fn kind(&mut self, depth: usize) -> String {
        const FLAT: &[&str] = &[
            "any",
            "any",
            "A",
            "A.B",
            "string",
            "'x'",
            "-1",
            "1",
            "null",
            "void",
            "typeof f",
            "unknown",
            "this",
            "A[]",
            "[A, B]",
            "{ a: 1 }",
            "{\n  a: 1\n}",
            "{}",
            "é",
            "symbol",
        ];
        const DEEP: &[&str] = &[
            "A<$T>",
            "A.B<$T, $T>",
            "() => $T",
            "new () => $T",
            "($T)",
            "$T | $T",
            "| $T",
            "$T[]",
            "$T & $T",
            "{ a: $T,\n b?: $T }",
            "keyof $T",
            "A extends $T ? $T : $T",
            "`x${A}`",
            "A['x']",
            "readonly $T[]",
            "(a: $T) => $T",
            "<X>(a: X) => X",
            "{ [key: string]: $T }",
            "A<\n$T\n>",
            "[a: $T]",
            "{ (a: 1): $T }",
            "\n$T",
            "A<() => $T>",
            "typeof f<$T>",
            "A<A<$T>>",
            "{ readonly [K in A]?: $T }",
            "abstract new () => A",
        ];
        match depth {
            0 => self.one(FLAT).to_owned(),
            _ if self.below(2) == 0 => self.one(FLAT).to_owned(),
            _ => {
                let template = self.one(DEEP);
                self.fill(template, depth - 1)
            }
        }
    }

    fn parameters(&mut self, depth: usize) -> String {
        let template = self.one(&[
            "",
            "",
            "x: $T",
            "x?: $T",
            "x?",
            "x: $T = $E",
            "{ x }: $T = {}",
            "[x]: $T = []",
            "...x: $T",
            "x: $T, y?: $T",
            "x: $T, ...y: $T",
            "x",
            "x = <$T>1",
            "x: $T,",
        ]);
        self.fill(template, depth)
    }

    fn value(&mut self, depth: usize) -> String {
        const FLAT: &[&str] = &[
            "f",
            "f",
            "f",
            "a",
            "1",
            "'s'",
            "f.p",
            "null",
            "this",
            "async",
            "type",
            "as",
            "[1]",
            "`t`",
            "/r/g",
            "f()",
            "f!",
            "f as any",
            "<any>f",
            "f satisfies any",
            "f<any>",
            "{ p: 1 }",
            "() => 1",
        ];
        const DEEP: &[&str] = &[
            "$E as $T",
            "$E as $T",
            "$E as const",
            "$E satisfies $T",
            "<$T>$_$E",
            "<$T>$E",
            "<const>$E",
            "$E!",
            "f<$T>",
            "f<$T>$_($E)",
            "f<$T>`x${$E}`",
            "new f<$T>($E)",
            "new f<$T>",
            "f?.<$T>($E)",
            "f?.p!.q",
            "f!?.p",
            "(f?.p)!.q",
            "f?.[$E]!",
            "f!$_[$E]",
            "f!$_($E)",
            "f![$E]!($E)!",
            "($P)$_: $T => $E",
            "($P): $T$_=> $E",
            "($P): $T => { $S }",
            "<X>($P)$_: $T => $E",
            "<X,>$_($P) => $E",
            "<X extends $T = $T>$_($P) => $E",
            "async <X>$_($P)$_: $T => $E",
            "async ($P): $T => $E",
            "async$_<X>($P) => $E",
            "() => <$T>$E",
            "() =>$_<$T>$_{ p: $E }",
            "() => ({ p: $E }) as $T",
            "x => x as $T",
            "() => <$T>{}",
            "() => <$T>{}.p",
            "function ($P)$_: $T { $S }",
            "function $N<Y>(this: $T, x: $T) { $S }",
            "async function ($P): $T { $S }",
            "class<Y> { $M }",
            "class $N<Y> implements A, B<$T> { $M }",
            "class extends (f as $T)<$T> { $M }",
            "class extends Object<$T> implements A { $M }",
            "{ p: $E, m<X>($P): $T { $S } }",
            "{ get p(): $T { $S }, [$E as $T]: $E }",
            "[$E, ...($E as $T)]",
            "$E + $E",
            "$E * $E",
            "$E as $T + $E",
            "$E + $E as $T",
            "$E < $E",
            "$E ?? $E",
            "$E || $E",
            "$E as $T ?? $E",
            "$E as $T || $E",
            "-$E",
            "!$E",
            "typeof $E",
            "void $E",
            "$E ? $E : $E",
            "$E ? ($P): $T => $E : $E",
            "$E as $T ? $E : $E",
            "($E)",
            "($E as $T)",
            "($E)!",
            "($E,$_$E)",
            "a = $E",
            "(a as $T) = $E",
            "(<$T>a) = $E",
            "a! = $E",
            "(a!) = $E",
            "(a satisfies $T) ||= $E",
            "[a as $T] = [$E]",
            "({ p: a as $T } = { p: $E })",
            "[(a as $T) = $E] = []",
            "f.p! += $E",
            "a!++",
            "++(a as $T)",
            "(a as $T)--",
            "$E in (f as $T)",
            "$E instanceof (f as $T)",
            "delete (f as $T).p",
            "await $E",
            "await <$T>$_$E",
            "yield $E",
            "yield <$T>$_$E",
            "yield* <$T>$E",
            "`${$E as $T}`",
            "f`x`!",
            "$E!$_.p",
            "$E as $T, $E",
            "import.meta!",
            "new (f as $T)($E)",
            "new f!.p<$T>()",
            "f.p<$T>",
            "(function* ($P): $T { $S })().next()",
            "(function ($P): $T { $S })()",
            "(($P): $T => { $S })()",
            "(async () => { $S })() as $T",
            "($E as any)$_.p",
            "f[$E as $T]",
            "f(...$E as $T, <$T>$E)",
            "/* as any */ $E",
            "'as any' as any",
            "/a<b>/ as any",
            "$E!! as $T",
            "<$T><$T>$E",
        ];
        match depth {
            0 => self.one(FLAT).to_owned(),
            _ if self.below(4) == 0 => self.one(FLAT).to_owned(),
            _ => {
                let template = self.one(DEEP);
                self.fill(template, depth - 1)
            }
        }
    }

    fn members(&mut self, depth: usize) -> String {
        const MEMBERS: &[&str] = &[
            "p: $T",
            "p = $E",
            "p: $T = $E",
            "p",
            "p?: $T",
            "p!: $T",
            "get: $T",
            "set: $T",
            "static: $T",
            "async: $T",
            "get",
            "set?: $T",
            "static",
            "static static: $T",
            "readonly: $T",
            "declare: $T",
            "private: $T",
            "abstract: $T",
            "private p = $E",
            "public [$E as $T] = $E",
            "private ['k']: $T = $E",
            "readonly ['k'] = $E",
            "protected *g(): $T { $S }",
            "public async m<X>($P): $T { $S }",
            "private static s = $E",
            "static private ['s'] = $E",
            "static readonly s: $T = $E as $T",
            "declare q: $T",
            "declare readonly q: $T",
            "abstract z: $T",
            "abstract m($P): $T",
            "m($P): $T",
            "m<X>(this: $T, x: $T): $T { $S }",
            "m?(): $T { $S }",
            "['m']?<X>(): $T { $S }",
            "get v(): $T { $S }",
            "private set v(x: $T) { $S }",
            "[key: string]: $T",
            "readonly [key: string]: $T",
            "static [key: string]: $T",
            "constructor(x: $T)",
            "override m() { $S }",
            "static { $S }",
            "#h: $T = $E",
            "#h?: $T",
            "private async *['k']() { $S }",
            "in: $T",
            "private in = $E",
            "public instanceof",
            "readonly 1: $T = $E",
            "'s': $T",
            "private static async m() { $S }",
            "static get: $T",
            "static async: $T",
            "*g(): $T { $S }",
            "async m() { $S }",
            "['k'](): $T { $S }",
            "p =$_<$T>$_$E",
            "p = $E!",
            "accessor: $T",
            "get\n",
            "async\n",
            "static\n",
            "readonly\n",
            "declare\n",
        ];
        let mut out = String::new();
        for _ in 0..1 + self.below(4) {
            let template = self.one(MEMBERS);
            out.push_str(&self.fill(template, depth.saturating_sub(1)));
            out.push_str(self.one(&["\n", "\n", "\n", ";\n", " ;", "\n// c\n", ";", "/*\n*/", "\r\n"]));
        }
        out
    }

    fn statements(&mut self, depth: usize) -> String {
        let mut out = String::new();
        for _ in 0..1 + self.below(3) {
            out.push_str(&self.statement(depth.saturating_sub(1)));
            out.push_str(self.separator());
        }
        out
    }

    /// Returns the end of a statement, mostly a line end alone.
    fn separator(&mut self) -> &'static str {
        self.one(&[
            "\n",
            "\n",
            "\n",
            "\n",
            "\n\n",
            "\n  // c\n",
            " /* c\n */ ",
            "\r\n",
            "\u{2029}",
            ";\n",
            "; ",
        ])
    }

    fn statement(&mut self, depth: usize) -> String {
        const STATEMENTS: &[&str] = &[
            "$E",
            "$E",
            "$E as $T",
            "a = $E as $T",
            "a = $E satisfies $T",
            "a = $E!",
            "a = f<$T>",
            "a = $E",
            "log.push(show($E))",
            "{ let x: $T\n[1].forEach(show) }",
            "{ let x: $T = $E\n f }",
            "{ let x!: $T, y: $T = $E\n f }",
            "{ const { x }: $T = $E as $T\n f }",
            "{ let x\n<$T>(1 as any) }",
            "{ const [x]: $T = [$E] as const\n f }",
            "type $N = $T",
            "interface $N { a: $T }",
            "interface $N<Y> extends A<$T>, B {\n  (a: $T): $T\n}",
            "declare const $N: $T",
            "declare let $N: $T, y$N",
            "declare function $N($P): $T",
            "declare class $N { a: $T }",
            "declare namespace $N { let a: $T }",
            "declare enum $N { A }",
            "type = $E",
            "abstract class $N<Y> { $M }",
            "abstract class $N implements A<$T> { $M }",
            "class $N extends Object<$T> { $M }",
            "{ class $N { $M }\n log.push(show(new $N)) }",
            "{ const $N = class { $M }\nlog.push(show($N), show(new ($N as any)())) }",
            "{ abstract class $N { $M }\n log.push(show(new ($N as any))) }",
            "{ function g($P): $T\nfunction g(x?: $T) { $S }\n g() }",
            "{ function g<X>(this: $T, x?: X): $T { $S }\n g.call(1, f as $T) }",
            "{ function* g(): $T { $S }\n [...(g() as any)] }",
            "function $N($P): $T",
            "export type $N = $T",
            "export interface $N { a: $T }",
            "export declare const $N: $T",
            "(() => { return <$T>$_$E })()",
            "(() => { return $_<$T>$E })()",
            "log.push(show((() => { return <$T>$_$E\n })()))",
            "log.push(show((() => <$T>$E)()))",
            "log.push(show((() => { return $E as $T\n $S })()))",
            "(() => { return <X>$_($P) => $E })()",
            "try { throw <$T>$_$E } catch (x: any) { log.push(show(x)) }",
            "try { throw $E as $T\n f } catch (x: unknown) { log.push(show(x)) }",
            "try { $S } catch { log.push('caught') }",
            "log.push(show([...(function* (): $T { yield <$T>$_$E\n yield $E as $T\n f })()]))",
            "if ($E as $T) $E as $T\nelse $E satisfies $T",
            "if (a) f as $T\nelse f!",
            "if (a) a = $E as $T",
            "do a = $E as $T\nwhile (!f)",
            "for (let x: $T = 0 as $T; (x as any) < 1; (x as any)++) $E as $T",
            "for (const x of [$E] as $T) f(x)",
            "for (const x in <$T>{ p: 1 }) $E",
            "for ((a as $T) of [$E]);",
            "while (a as $T) { break }",
            "while (a) { break\n<$T>f }",
            "x: { $E as $T\nbreak x }",
            "switch ($E as $T) { case <$T>$E: $S default: $S }",
            "switch (a as $T) { case $E as $T: $E as $T\n}",
            "(f as $T)",
            "[f as $T]",
            "`x` as $T",
            "+f as $T",
            "-f",
            "/r/.exec('r') as $T",
            "<$T>f",
            "<$T>{ p: $E }",
            "<$T>function () {}",
            "<$T>class {}",
            "<$T>async function () {}",
            "<X>$_($P) => $E",
            "(a as $T) = function () {}\nlog.push(show(a))",
            "a = <$T>function () {}\nlog.push(show(a))",
            "a = (() => {}) as $T\nlog.push(show(a))",
            "a = class { static p = 1 } as $T\nlog.push(show(a))",
            "async <X>$_($P)$_: $T => $E",
            "!f as $T",
            "++a",
            "--a",
            "++(a as $T)",
            "f?.p!",
            "<any>(f)",
            ".p",
            "in f",
            "as any",
            "type\nf",
            "abstract\nf",
            "<any>[f]",
            "await f as $T",
            "await <$T>$_$E",
            "debugger",
            ";",
            "{ $S }",
            "{ type $N = $T\n$E }",
            "function $N($P)$_: $T { $S }",
            "async function $N<X>($P): $T { $S }",
            "{ let as = $E as $T\n f }",
            "var satisfies = $E satisfies $T",
            "var of: $T, get: $T = $E",
            "async\n(f)",
            "async<$T>(f)",
            "async as $T",
            "f\n<$T>(f)",
            "f<$T>\n`x`",
            "f<$T>\nf",
            "f<$T>\n[1]",
            "f<$T>\n-1",
            "f <a> f",
            "(f < a, b > (1))",
            "new f<$T>\n(1)",
            "new f<$T>\nf",
        ];
        let template = self.one(STATEMENTS);
        self.fill(template, depth)
    }

    /// Returns a few statements.
    pub(crate) fn program(&mut self) -> String {
        let depth = 1 + self.below(3);
        let mut body = String::new();
        for _ in 0..1 + self.below(4) {
            body.push_str(&self.statement(depth));
            body.push_str(self.separator());
        }
        body
    }
}
