/** Listeners that a user adds to a session, and leaves there when it is returned to the pool. */

import type { EventEmitter } from 'node:events'

/** Set when a listener is added to the session, whatever for. */
const TOUCHED = Symbol('listeners added')
/** Set when the session has been made ready for its users. */
const PREPARED = Symbol('prepared')
/** The listeners that stay, by event. */
const OWN = Symbol('own listeners')

type Listeners = ReturnType<EventEmitter['rawListeners']>

interface Marks {
  [TOUCHED]?: boolean
  [PREPARED]?: boolean
  [OWN]?: ReadonlyMap<string, Listeners>
}

function touch(this: EventEmitter & Marks): void {
  this[TOUCHED] = true
}

/** The present listeners to these events stay on the session; those that are added later are foreign. */
export function keepListeners(session: EventEmitter & Marks, events: readonly string[]): void {
  if (session[OWN] === undefined) session.on('newListener', touch)
  session[OWN] = new Map(events.map((event) => [event, session.rawListeners(event)]))
  session[TOUCHED] = false
}

/** As {@link keepListeners} the first time; later what has been added since then is removed. */
export function keepFirstListeners(session: EventEmitter & Marks, events: readonly string[]): void {
  if (session[PREPARED] === true) removeForeignListeners(session)
  else keepListeners(session, events)
  session[PREPARED] = true
}

/** Removes the foreign listeners. On the hot path: costs one look at a property where none was added. */
export function removeForeignListeners(session: EventEmitter & Marks): void {
  if (session[TOUCHED] === true) remove(session)
}

function remove(session: EventEmitter & Marks): void {
  session[TOUCHED] = false
  for (const [event, own] of session[OWN] ?? []) {
    for (const listener of session.rawListeners(event)) {
      if (!own.includes(listener)) session.off(event, listener as () => void)
    }
  }
}
