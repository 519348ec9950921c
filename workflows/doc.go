// Package workflows is WHAT happens, in order: one file per stage, each a deterministic Temporal workflow that reads as the process.
//
// It owns the order of steps, the timers and the messages; it refuses to touch the world (package activities does) and to price
// anything (internal/rating does, inside activities, so that a mended tariff bug never changes the replay of runs in flight).
//
//	workflow         id                        queue     messages                              waits for
//	StartDue         by Schedule due/<site>    billing   –                                     –
//	ReadingCycle     cycle/<cycle>             billing   –                                     second and third pass for silent meters
//	ExceptionReview  case/<case>               billing   update Decide                         a decision; escalates when overdue
//	DailyCharge      charge/<cycle>            billing   –                                     –
//	BillingRun       billing-run/<run>         billing   updates Verify Issue HoldBill         cases that block, two supervisors
//	                                                     ReleaseBill CancelRun, signal
//	                                                     CaseResolved
//	BillingChunk     billing-chunk/<run>/<n>/<step> billing –                                  –
//	ArrearsReminder  reminder/<reminder>       billing   signals PaymentSettled BalanceFell    receipts, the next level, the date of the cut
//	                                                     MessageDelivered
//	Recharge         recharge/<recharge>       billing   updates Enter Approve Reject          two clerks; expires
//	Cutoff           cutoff/<cutoff>           billing   updates ApproveCut CancelCut          its hour, a manager for large customers
//	                                                     signal PaymentSettled
//	Restore          restore/<restore>         billing   –                                     proof that supply is back
//	DayClose         day-close/<site>/<day>    billing   –                                     –
//	ReadingRound     round/<round>             billing   updates PlanRound AssignRound         a reader, another person's check; says when overdue
//	                                                     EnterValues SubmitRound AcceptRound
//	                                                     ReturnRound CancelRound
//	Correction       correction/<correction>   billing   updates Submit Approve Reject         one or two others than its maker; when it
//	                                                     Withdraw Preview Resume               has stopped, a person
//	Adjustment       adjustment/<adjustment>   billing   updates Submit Approve Reject         two others than who entered it
//	                                                     Withdraw
//	BatchWork        batch/<batch>             billing   updates PlanBatch StartBatch          a start; meters one after another below a rate
//	                                                     CancelBatch, query Progress
//	Receipt          receipt/<provider's no>   billing   –                                     –
//	TariffPublication tariff/<change>          billing   updates Edit Submit Approve Reject    two persons who didn't write in it, the first
//	                                                     Withdraw Simulate PushAgain           day of the prices, meters that don't answer
//
// Device work runs on the task queues of the worker that owns the line: sweep/<holder> and command/<holder>, so that sweeps can't
// take the slots of commands. Pages of billing runs and daily charges run on the queue rating, so that a run of any size takes no slot
// from people's decisions; messages to customers run on the queue messages.
package workflows
