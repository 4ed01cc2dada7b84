import type { Emit } from '../events.ts'

/** Causes that are remembered; beyond them no warning is raised any more. */
const MOST = 100

/** The same events, but each `security:warning` once: a pool opens many sessions that are weak for the same reason. */
export function warnOnce(emit: Emit): Emit {
  const raised = new Set<string>()
  return (name, payload) => {
    if (name !== 'security:warning') return emit(name, payload)
    const cause = JSON.stringify(payload)
    if (raised.has(cause) || raised.size >= MOST) return
    raised.add(cause)
    emit(name, payload)
  }
}
