/** Part of the TDS server test double: a script of faults and their places. */

/** The steps of a connection at which a fault can happen. */
export type Step = 'connect' | 'prelogin' | 'tls' | 'login' | 'fedauth' | 'sspi' | 'request' | 'rows' | 'attention'

export type Fault =
  /** Closes in order. */
  | { readonly do: 'cut' }
  /** Closes with a reset. */
  | { readonly do: 'reset' }
  /** Sends nothing until the client disconnects. */
  | { readonly do: 'hang' }
  /** Answers with meaningless bytes. */
  | { readonly do: 'garble' }
  /** Answers with an error: a login is refused, a request fails. */
  | {
      readonly do: 'refuse'
      readonly number: number
      readonly state?: number
      readonly class?: number
      readonly message?: string
    }
  /** Waits, then continues. */
  | { readonly do: 'delay'; readonly millis: number }

export interface FaultRule {
  readonly at: Step
  readonly fault: Fault
  /** How often; default always. */
  readonly times?: number
  /** At `rows`: the number of rows before it. At the others: how many pass before it. Default 0. */
  readonly after?: number
  /** At `request`: only a request with this text. */
  readonly sql?: RegExp
}

export class Faults {
  /** The database can only be read, as on a secondary replica: writes fail with error 3906. */
  readOnly = false
  #rules: { readonly rule: FaultRule; left: number; skip: number }[] = []

  add(rule: FaultRule): void {
    const skip = rule.at === 'rows' ? 0 : (rule.after ?? 0)
    this.#rules.push({ rule, left: rule.times ?? Number.POSITIVE_INFINITY, skip })
  }

  has(step: Step): boolean {
    return this.#rules.some((entry) => entry.rule.at === step && entry.left > 0)
  }

  clear(): void {
    this.#rules = []
  }

  /** The fault that is due at this step, if any; counts it as used. */
  take(step: Step, rowsSent = 0, sql = ''): Fault | undefined {
    for (const entry of this.#rules) {
      if (entry.rule.at !== step || entry.left <= 0) continue
      if (entry.rule.sql !== undefined && !entry.rule.sql.test(sql)) continue
      if (step === 'rows' && rowsSent < (entry.rule.after ?? 0)) continue
      if (entry.skip > 0) {
        entry.skip--
        continue
      }
      entry.left--
      return entry.rule.fault
    }
    return undefined
  }
}
