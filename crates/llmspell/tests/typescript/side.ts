import { log } from './log.ts'

log.push('side')
export const value = 1
export type T = number
export default class D {}
