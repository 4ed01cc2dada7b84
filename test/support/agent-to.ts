import { Agent, type RequestOptions } from 'node:https'
import type { Duplex } from 'node:stream'

/** An agent that leads the names of a service to a double on a port of this machine, with the names in TLS. */
export function agentTo(port: () => number, domains: readonly string[]): Agent {
  class ToDouble extends Agent {
    override createConnection(options: RequestOptions, done?: (error: Error | null, stream: Duplex) => void) {
      const isLed = domains.some((domain) => options.host?.endsWith(`.${domain}`))
      return super.createConnection(isLed ? { ...options, host: '127.0.0.1', port: port() } : options, done)
    }
  }
  return new ToDouble()
}
