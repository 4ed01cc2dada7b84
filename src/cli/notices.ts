import type { Listener } from '../pool/events.ts'
import type { Screen } from './terminal.ts'

/** Something that the engine wants people to know, and that is no error. */
export interface Notice {
  readonly kind: 'config' | 'security' | 'certificate'
  readonly message: string
}

interface NoticeListeners {
  readonly 'credential:prompt': Listener<'credential:prompt'>
  readonly 'config:warning': Listener<'config:warning'>
  readonly 'security:warning': Listener<'security:warning'>
  readonly 'certificate:expiring': Listener<'certificate:expiring'>
}

/** Listeners for an engine that hand on what deserves a word, each thing once; and, at once, what a person has to do. */
export function noticeListeners(tell: (notice: Notice) => void, log: Screen): NoticeListeners {
  const told = new Set<string>()
  const once = (kind: Notice['kind'], message: string): void => {
    if (told.has(message)) return
    told.add(message)
    tell({ kind, message })
  }
  return {
    'credential:prompt': ({ message }) => log.line(message),
    'config:warning': ({ path, message }) => once('config', `${path}: ${message}`),
    'security:warning': ({ message }) => once('security', message),
    'certificate:expiring': ({ file, subject, expiresAt }) =>
      once('certificate', `${file}: the certificate of ${subject} ends on ${new Date(expiresAt).toISOString()}`),
  }
}
