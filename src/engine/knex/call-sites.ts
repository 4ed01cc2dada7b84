import type { Knex } from 'knex'
import { callSite } from '../../pool/call-site.ts'

const MAKERS = ['queryBuilder', 'raw', 'schemaBuilder'] as const

type Maker = (...given: unknown[]) => object

interface Acquiring {
  acquireConnection(...given: unknown[]): Promise<unknown>
}

/**
 * Where the program made a builder or began a transaction, for leak detection. knex asks for the connection later, when
 * nothing of the program is left on the stack.
 */
export class CallSites {
  readonly #sites = new WeakMap<object, Error>()
  #current: Error | undefined

  /** @param client its builders and transactions are noted from now on */
  constructor(client: typeof Knex.Client) {
    const prototype = client.prototype as unknown as Record<string, Maker>
    for (const name of MAKERS) {
      this.#wrap(prototype, name, (made, site) => this.#note(made, site))
    }
    this.#wrap(prototype, 'transaction', (made, site) => {
      const transaction = made as Acquiring
      const { acquireConnection } = transaction
      transaction.acquireConnection = (...given) =>
        this.#during(site, () => acquireConnection.apply(transaction, given))
    })
  }

  /** A clone is made past the client, and of a clone again. */
  #note(made: object, site: Error): void {
    this.#sites.set(made, site)
    if ('clone' in made) {
      this.#wrap(made as Record<string, Maker>, 'clone', (clone, cloneSite) => this.#note(clone, cloneSite))
    }
  }

  #wrap(prototype: Record<string, Maker>, name: string, note: (made: object, site: Error) => void): void {
    const make = prototype[name] as Maker
    const noted: Maker = function (this: unknown, ...given) {
      const made = make.apply(this, given)
      note(made, callSite(noted))
      return made
    }
    prototype[name] = noted
  }

  /** The site of the connection that is being asked for in this very call. */
  get current(): Error | undefined {
    return this.#current
  }

  /** Runs what asks for a connection for this builder, before it returns. */
  asking<T>(builder: object, run: () => T): T {
    return this.#during(this.#sites.get(builder), run)
  }

  #during<T>(site: Error | undefined, run: () => T): T {
    this.#current = site
    try {
      return run()
    } finally {
      this.#current = undefined
    }
  }
}
