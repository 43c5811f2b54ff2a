// Known to each program: `f` is a function that writes down what is done to it and answers with itself. So each way to
// read a program has its own log.
const log: string[] = []
const handler: any = {
    get(_: any, key: any): any {
        if (key === Symbol.toPrimitive) return () => 7
        if (typeof key === 'symbol' || key === 'then') return undefined
        log.push('.' + short(key))
        return f
    },
    has(): boolean { log.push('has'); return true },
    set(_: any, key: any): boolean { log.push('=' + short(key)); return true },
    deleteProperty(_: any, key: any): boolean { log.push('delete ' + short(key)); return true },
    apply(_: any, self: any, list: any[]): any {
        log.push((self === undefined ? '' : 'this') + '(' + list.map(show) + ')')
        return f
    },
    construct(_: any, list: any[]): any { log.push('new(' + list.map(show) + ')'); return f },
}
const f: any = new Proxy(function () {}, handler)
// The text of a function is not the same in any two outputs.
function short(it: any): string { return String(it).length < 6 ? String(it) : 'long' }
function show(it: any): string {
    if (it === f) return 'f'
    if (Array.isArray(it)) return '[' + it.map(show) + ']'
    if (typeof it === 'function') return 'function ' + it.name + ':' + it.length
    if (it && typeof it === 'object') {
        return it.constructor?.name + '{' + Object.keys(it).map((key) => key + ':' + show(it[key])) + '}'
    }
    return typeof it + ' ' + short(it)
}
let a: any = 1, b: any = 2
var async: any = f, type: any = f, abstract: any = f, as: any = f, A: any = f
