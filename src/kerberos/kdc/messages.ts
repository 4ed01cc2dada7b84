import type { PoolsmithErrorOptions } from '../../errors.ts'
import type { Tasks } from './tasks.ts'

/** The messages between a process and the one that asks the KDC for it. */

export interface Question {
  readonly id: number
  readonly surroundings: Surroundings
  readonly task: keyof Tasks
  readonly request: unknown
}

export interface Answer {
  readonly id: number
  readonly result?: unknown
  readonly failure?: { readonly message: string; readonly options?: Omit<PoolsmithErrorOptions, 'cause'> }
}

/** The parts of a process that krb5 looks at, and that can change while it runs. */
export interface Surroundings {
  readonly folder: string | undefined
  readonly environment: Readonly<Record<string, string>>
}

/** KRB5_CONFIG, KRB5CCNAME, GSS_USE_PROXY, SSSD_KRB5_LOCATOR_DEBUG, … */
const RELEVANT = /^(KRB5|GSS|SSSD)/

export function surroundings(): Surroundings {
  const environment = Object.entries(process.env).filter(
    (entry): entry is [string, string] => RELEVANT.test(entry[0]) && entry[1] !== undefined,
  )
  return { folder: currentFolder(), environment: Object.fromEntries(environment) }
}

function currentFolder(): string | undefined {
  try {
    return process.cwd()
  } catch {
    // It was removed: no relative path leads anywhere.
    return undefined
  }
}

export function enter({ folder, environment }: Surroundings): void {
  for (const name of Object.keys(process.env)) {
    if (RELEVANT.test(name) && environment[name] === undefined) delete process.env[name]
  }
  for (const [name, value] of Object.entries(environment)) {
    if (process.env[name] !== value) process.env[name] = value
  }
  if (folder !== undefined && folder !== currentFolder()) process.chdir(folder)
}
