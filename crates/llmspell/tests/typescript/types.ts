import { log } from './log.ts'

log.push('types')
export type T = number
