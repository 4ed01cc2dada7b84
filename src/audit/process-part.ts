import { hostname, userInfo } from 'node:os'
import { Part } from './line.ts'

let facts: Readonly<Record<string, unknown>> | undefined
let part: Part | undefined

/** The facts about this process, on every line. */
export function processFacts(): Readonly<Record<string, unknown>> {
  facts ??= { os_user: systemUser(), machine: hostname(), pid: process.pid }
  return facts
}

export function processPart(): Part {
  part ??= new Part(processFacts())
  return part
}

/** The name of the operating-system user, or its number where the system has no name for it. */
function systemUser(): string {
  try {
    return userInfo().username
  } catch {
    return String(process.geteuid?.() ?? 'unknown')
  }
}
