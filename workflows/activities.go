package workflows

import "github.com/meterflow/meterflow/activities"

// Nil pointers through which workflows name activities: a rename is a compile error, a typo can't be.
var (
	clock      *activities.Clock
	lines      *activities.Lines
	due        *activities.Due
	metering   *activities.Metering
	review     *activities.Review
	rating     *activities.Rating
	bills      *activities.Billing
	posting    *activities.Posting
	delivery   *activities.Delivery
	switching  *activities.Supply
	messaging  *activities.Messaging
	reminding  *activities.Reminding
	closing    *activities.Closing
	rounds     *activities.Rounds
	tariffs    *activities.Tariffs
	correcting *activities.Correcting
	batches    *activities.Batches
	adjusting  *activities.Adjusting
)
