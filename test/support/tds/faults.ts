/** Part of the TDS server test double: a script of what goes wrong, and where. */

/** The places on a connection's way at which something can go wrong. */
export type Step = 'connect' | 'prelogin' | 'tls' | 'login' | 'fedauth' | 'sspi' | 'request' | 'rows' | 'attention'

export type Fault =
  /** Closes in good order. */
  | { readonly do: 'cut' }
  /** Closes with a reset. */
  | { readonly do: 'reset' }
  /** Says nothing until the client goes. */
  | { readonly do: 'hang' }
  /** Answers bytes that mean nothing. */
  | { readonly do: 'garble' }
  /** Answers an error; a login is refused with it, a request fails with it. */
  | {
      readonly do: 'refuse'
      readonly number: number
      readonly state?: number
      readonly class?: number
      readonly message?: string
    }
  /** Waits, then goes on. */
  | { readonly do: 'delay'; readonly millis: number }

export interface FaultRule {
  readonly at: Step
  readonly fault: Fault
  /** How often; default always. */
  readonly times?: number
  /** At `rows`: after how many. At the others: how many pass unharmed first. Default 0. */
  readonly after?: number
  /** At `request`: only one that says this. */
  readonly sql?: RegExp
}

export class Faults {
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
