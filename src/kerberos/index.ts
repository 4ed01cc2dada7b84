/** The door `poolsmith/kerberos`: tickets that are obtained, renewed and verified outside an engine. */

import '../supported-node.ts'

export { KerberosTicket } from './kerberos-ticket.ts'
export { type TicketInfo, type TicketRequest, verifyTicket } from './ticket.ts'
export type { KerberosTicketOptions, TicketEvent, TicketStatus, TicketUpdater } from './ticket-updater.ts'
