import { poolFaultSuite } from '../support/pool-fault-suite.ts'
import { poolSuite } from '../support/pool-suite.ts'
import { sqlServerSide } from '../support/sides/sqlserver.ts'

poolFaultSuite(sqlServerSide)
poolSuite(sqlServerSide)
